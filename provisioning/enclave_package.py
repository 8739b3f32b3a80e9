"""An IoT Edge module with an enclave: the image that a registry gets, and the deployment's entry.

::

    OUT/image/       OCI image layout: /enclave/start, /enclave/<uuid>.ta, and the application
    OUT/module.json  the module's entry under $edgeAgent properties.desired.modules

When the module starts, ``/enclave/start`` puts the enclave into the box's TA directory, which is
bound into the container, and becomes the application, which talks to /dev/tee0. Whoever can start
a module with that bind can replace enclaves; what the box runs is for its TEE's key to decide.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import BadInput, Misuse
from provisioning.enclave_image import EnclaveImage, Kind, parse
from provisioning.enclave_start import start_program
from provisioning.oci_image import Entry, OciImage, write_image
from provisioning.private_files import write_durably

TA_DIRECTORY = "/lib/optee_armtz"
TEE_DEVICE = "/dev/tee0"
LONGEST_OPTIONS = 512
"""Characters of createOptions in one value; more goes on in createOptions01 and so on (IoT Edge,
"Configure container create options")."""
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,200}:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIRECTORY = re.compile(r"/[A-Za-z0-9/_.+-]{1,200}", re.ASCII)
"""No colon: in a bind it ends the path."""
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class Module:
    """What is packaged. ``application`` is a program for the box (an AArch64 ELF file), put to
    /app with the directory ``root`` under it as the image's other files."""

    name: str
    image: str
    application: Path
    arguments: tuple[str, ...] = ()
    root: Path | None = None
    privileged: bool = True
    ta_directory: str = TA_DIRECTORY

    def create_options(self) -> dict[str, object]:
        """What Docker is told when it makes the container."""
        device = {
            "PathOnHost": TEE_DEVICE,
            "PathInContainer": TEE_DEVICE,
            "CgroupPermissions": "rwm",
        }
        host: dict[str, object] = {
            "Binds": [f"{self.ta_directory}:{TA_DIRECTORY}"],
            "Devices": [device],
        }
        if self.privileged:
            host["Privileged"] = True
        return {"HostConfig": host}

    def deployment(self) -> dict[str, object]:
        """The entry under ``$edgeAgent`` ``properties.desired.modules``."""
        text = json.dumps(self.create_options(), sort_keys=True, separators=(",", ":"))
        parts = [text[at : at + LONGEST_OPTIONS] for at in range(0, len(text), LONGEST_OPTIONS)]
        settings = {"image": self.image}
        for number, part in enumerate(parts):
            settings["createOptions" + (f"{number:02}" if number else "")] = part
        return {
            self.name: {
                "version": "1.0",
                "type": "docker",
                "status": "running",
                "restartPolicy": "always",
                "settings": settings,
            }
        }


def package(enclave: bytes, module: Module, out: Path, *, where: str, clear: bool = False) -> str:
    """Make ``out``, which must not be there; the image's manifest digest.

    Raises BadInput for an enclave that is not encrypted (unless ``clear``), an application that is
    not for the box, names of another form, a root that has files in the places of these; Misuse,
    BuildFailed. Then ``out`` is not there.
    """
    image = _checked(enclave, module, where, clear)
    if out.exists():
        raise Misuse(f"{out} is there already", hint="Name a directory that is to be made.")
    program = f"app/{module.application.name}"
    ours = {
        "enclave/start": Entry(start_program(), 0o755),
        f"enclave/{image.uuid}.ta": Entry(enclave, 0o444),
        program: Entry(module.application.read_bytes(), 0o755),
    }
    files = _apart(_root_files(module.root), ours) | ours
    start = ("/enclave/start", f"/enclave/{image.uuid}.ta", TA_DIRECTORY, f"/{program}")
    labels = {
        "trustbox.enclave.uuid": str(image.uuid),
        "trustbox.enclave.version": str(image.version),
        "trustbox.enclave.digest": image.digest.hex(),
        "trustbox.enclave.encrypted": str(image.kind is Kind.ENCRYPTED).lower(),
    }
    tag = module.image.rpartition(":")[2]
    made = OciImage(files, (*start, *module.arguments), labels, tag)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        (scratch / "image").mkdir()
        digest = write_image(made, scratch / "image")
        deployment = json.dumps(module.deployment(), indent=2) + "\n"
        write_durably(scratch / "module.json", deployment.encode(), mode=0o644)
        scratch.chmod(0o755)
        scratch.rename(out)
    except OSError as problem:
        raise Misuse(f"{out} cannot be made: {problem.strerror}") from problem
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return digest


def _checked(enclave: bytes, module: Module, where: str, clear: bool) -> EnclaveImage:
    image = parse(enclave, where=where)
    if image.kind is not Kind.ENCRYPTED and not clear:
        expected = "an encrypted enclave, as a registry is no place for a clear one"
        raise BadInput(where=where, key="type", value="1, in clear", expected=expected)
    forms = [
        ("--name", module.name, _MODULE, "letters, digits, _ . and -"),
        ("--image", module.image, _IMAGE, "registry/name:tag"),
        ("--ta-directory", module.ta_directory, _DIRECTORY, "an absolute path without a colon"),
    ]
    for option, value, form, expected in forms:
        if not form.fullmatch(value):
            raise BadInput(where=option, key="its form", value=value, expected=expected)
    path = module.application
    try:
        with path.open("rb") as file:
            machine = ELFFile(file)["e_machine"]
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a readable file"
        ) from problem
    except ELFError:
        machine = "no ELF file"
    if machine != "EM_AARCH64":
        expected = "a program for the box, an AArch64 ELF file"
        raise BadInput(where=str(path), key="machine", value=machine, expected=expected)
    return image


def _apart(found: dict[str, Entry], ours: dict[str, Entry]) -> dict[str, Entry]:
    """What the root has. Raises BadInput where it is in the way of what is put into the image: the
    same file, or a file where a directory must be, or the other way round."""
    for name in found:
        for own in ours:
            if name == own or own.startswith(f"{name}/") or name.startswith(f"{own}/"):
                expected = f"nothing in the way of /{own}, which is put into the image"
                raise BadInput(where="--root", key="contents", value=name, expected=expected)
    return found


def _root_files(root: Path | None) -> dict[str, Entry]:
    """What is under it, as it is; links and other special files are refused: a layer that follows
    a link of the builder's machine has what nobody meant to give away."""
    found: dict[str, Entry] = {}
    if root is None:
        return found
    if not root.is_dir():
        raise BadInput(where="--root", key="the directory", value=str(root), expected="one")
    total = 0
    for path in sorted(root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            expected = "files and directories alone"
            raise BadInput(where="--root", key="contents", value=str(path), expected=expected)
        total += path.stat().st_size
        if total > _LARGEST:
            raise BadInput(
                where="--root", key="size", value="more", expected=f"{_LARGEST} bytes at most"
            )
        mode = 0o755 if path.stat().st_mode & 0o111 else 0o644
        found[path.relative_to(root).as_posix()] = Entry(path.read_bytes(), mode)
    return found
