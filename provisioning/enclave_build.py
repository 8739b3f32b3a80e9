"""Builds an enclave from source with the TA dev kit and the signing key of a box's firmware.

The result is cached under the user's cache directory by what went in: the sources, the dev kit and
the public half of the key. The private half is read by the dev kit's own sign_encrypt.py where it
lies and is copied nowhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from platformdirs import user_cache_path

from harness.deadline import Deadline
from harness.errors import BuildFailed, DeadlineExpired, Misuse
from provisioning.enclave_image import parse
from provisioning.enclave_signer import FileSigner
from provisioning.locks import locked
from provisioning.private_files import private_directory

SAMPLE = Path(__file__).parent / "enclaves" / "sample"
_FORMAT = b"trustbox enclave 1"
_BINARY = re.compile(r"^BINARY\s*:?=\s*([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$", re.M)


def build_enclave(source: Path, *, devkit: Path, key: Path, by: Deadline) -> bytes:
    """The signed TA (the contents of ``<uuid>.ta``) made from the directory ``source``.

    Raises Misuse when a directory or the key is not what it should be (BadInput for one that others
    may read), BuildFailed with the compiler's own line, DeadlineExpired. A failed build leaves
    nothing in the cache.
    """
    uuid = enclave_uuid(source)
    if not (devkit / "mk" / "ta_dev_kit.mk").is_file():
        raise Misuse(f"{devkit} is not a TA dev kit: it has no mk/ta_dev_kit.mk")
    name = _identity(source, devkit, key)
    cache = private_directory(_cache())
    waiting = f"another process that builds enclave {uuid}"
    with locked(cache / f"{name}.lock", waiting, by=by):
        built = cache / f"{name}.ta"
        if not built.is_file():
            _build(source, uuid=uuid, devkit=devkit, key=key, into=built, by=by)
        return built.read_bytes()


def enclave_uuid(source: Path) -> UUID:
    """The UUID that the Makefile in ``source`` names as BINARY. Raises Misuse."""
    makefile = source / "Makefile"
    # Its comments may be in any encoding: make does not mind either.
    text = makefile.read_text(encoding="utf-8", errors="replace") if makefile.is_file() else ""
    found = _BINARY.search(text)
    if found is None:
        raise Misuse(f"{source} is not an enclave's source: no Makefile with BINARY := <uuid>")
    return UUID(found[1])


def _cache() -> Path:
    root = os.environ.get("TRUSTBOX_CACHE")
    base = Path(root) if root else user_cache_path("trustbox")
    return base / "enclaves"


def _identity(source: Path, devkit: Path, key: Path) -> str:
    """Names everything that the result depends on."""
    digest = hashlib.sha256(_FORMAT)
    digest.update(hashlib.sha256(_public_key(key)).digest())
    for root in (source, devkit):
        for file in sorted(root.rglob("*")):
            # keys/ is the dev kit's own signing key: not ours to read, and not used here.
            if file.is_file() and file.parent != devkit / "keys":
                digest.update(str(file.relative_to(root)).encode() + b"\0")
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _public_key(key: Path) -> bytes:
    public = FileSigner(key).public_key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _build(source: Path, *, uuid: UUID, devkit: Path, key: Path, into: Path, by: Deadline) -> None:
    with tempfile.TemporaryDirectory(prefix="trustbox-enclave-") as scratch:
        status, output = _make(
            f"TA_DEV_KIT_DIR={devkit.resolve()}",
            f"TA_SIGN_KEY={key.resolve()}",
            f"O={scratch}",
            f"PYTHON3={sys.executable}",
            "CROSS_COMPILE=aarch64-linux-gnu-",
            "CFG_ENCRYPT_TA=n",
            source=source,
            by=by,
        )
        made = Path(scratch) / f"{uuid}.ta"
        if status != 0 or not made.is_file():
            log = into.with_suffix(".log")
            log.write_text(output)
            raise BuildFailed("make", _told(output), log=str(log), what=f"enclave {source.name}")
        parse(made.read_bytes(), where=made.name)
        # Same directory, then rename: who looks into the cache sees all of the file or none.
        part = into.with_suffix(".part")
        shutil.copyfile(made, part)
        part.replace(into)


def _make(*variables: str, source: Path, by: Deadline) -> tuple[int, str]:
    """Exit status and output. The environment is not ours: make takes each of its variables for one
    of the build's, so only what finds the tools goes in."""
    tools = str(Path(sys.executable).parent)
    environment = {
        "PATH": os.pathsep.join([tools, os.environ.get("PATH", os.defpath)]),
        "TMPDIR": tempfile.gettempdir(),
        "LC_ALL": "C",
    }
    waiting = f"the build of enclave {source.name}"
    try:
        make = subprocess.Popen(
            ["make", "--no-print-directory", "-C", str(source), *variables],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    except FileNotFoundError as error:
        raise Misuse("make is not installed; an enclave is built with it") from error
    with make:
        try:
            output, _ = make.communicate(timeout=by.left(waiting))
        except BaseException as error:
            # The whole group: make alone would leave its compilers running.
            os.killpg(make.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise DeadlineExpired(waiting, by.seconds) from error
            raise
    return make.returncode, output.decode(errors="replace")


def _told(output: str) -> str:
    """The line that says what was wrong: the compiler's, else make's, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for sign in (": fatal error: ", ": error: ", "undefined reference", "Error: ", "*** "):
        for line in lines:
            if sign in line:
                return line[:300]
    return lines[-1][:300] if lines else "make said nothing"
