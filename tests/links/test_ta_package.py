"""``trustbox ta package``: the image is one for OCI tools that we did not write."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from provisioning.enclave_start import start_program
from tests.links.peers import skopeo, umoci
from tests.typed import Said
from tests.unit.ta_parts import ELF, ENCLAVE, key_file, secret_file, ta

pytestmark = pytest.mark.enclave

IMAGE = "registry.example/factory/fibonacci:1.2"


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """An encrypted enclave."""
    elf, clear, made = (tmp_path / name for name in ("x.elf", "clear.ta", "sealed.ta"))
    elf.write_bytes(ELF)
    key, secret = key_file(tmp_path, "box"), secret_file(tmp_path, bytes(range(32)))
    assert ta("sign", elf, "--uuid", str(ENCLAVE), "--key", key, "-o", clear).status == 0
    words = ("--key", key, "--encryption-key", secret, "-o", made)
    assert ta("encrypt", clear, *words).status == 0
    return made


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A program for the box."""
    path = tmp_path / "fibonacci"
    path.write_bytes(start_program())
    return path


def pack(sealed: Path, application: Path, out: Path, *more: str | Path) -> Said:
    return ta("package", sealed, "--application", application, "--image", IMAGE, "-o", out, *more)


def unpack(out: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(umoci()), "unpack", "--rootless", "--image", f"{out}/image:1.2", str(bundle)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_another_s_tool_refuses_one_that_was_damaged(
    sealed: Path, application: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert pack(sealed, application, out).status == 0
    layer = max((out / "image/blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    layer.chmod(0o644)
    data = layer.read_bytes()
    layer.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])

    assert unpack(out, tmp_path / "bundle").returncode != 0


def test_another_s_tool_unpacks_it_to_what_went_in(
    sealed: Path, application: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "data").write_text("some data\n")
    out, bundle = tmp_path / "out", tmp_path / "bundle"
    assert pack(sealed, application, out, "--root", root, "--argument", "20").status == 0

    done = unpack(out, bundle)

    assert done.returncode == 0, done.stderr
    unpacked = bundle / "rootfs"
    assert (unpacked / f"enclave/{ENCLAVE}.ta").read_bytes() == sealed.read_bytes()
    assert (unpacked / "app/fibonacci").read_bytes() == application.read_bytes()
    assert os.access(unpacked / "enclave/start", os.X_OK)
    assert (unpacked / "etc/data").read_text() == "some data\n"
    process = json.loads((bundle / "config.json").read_text())["process"]
    start = ["/enclave/start", f"/enclave/{ENCLAVE}.ta", "/lib/optee_armtz", "/app/fibonacci", "20"]
    assert process["args"] == start


def test_another_s_tool_reads_its_platform_and_labels(
    sealed: Path, application: Path, tmp_path: Path
) -> None:
    out, peer = tmp_path / "out", skopeo()
    assert pack(sealed, application, out).status == 0

    def inspect() -> subprocess.CompletedProcess[str]:
        argv = [str(peer.program("skopeo")), "inspect", f"oci:{out}/image:1.2"]
        environment = {"LD_LIBRARY_PATH": str(peer.libraries), "HOME": str(tmp_path)}
        return subprocess.run(
            argv, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    told = inspect()
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["Architecture"], found["Os"]) == ("arm64", "linux")
    assert found["Labels"]["trustbox.enclave.uuid"] == str(ENCLAVE)
    assert found["Labels"]["trustbox.enclave.encrypted"] == "true"


def test_the_same_input_gives_the_same_image(
    sealed: Path, application: Path, tmp_path: Path
) -> None:
    one, other = (pack(sealed, application, tmp_path / n, "--json") for n in ("one", "other"))

    assert json.loads(one.out)["digest"] == json.loads(other.out)["digest"]


def test_the_deployment_s_entry_has_device_bind_and_privilege(
    sealed: Path, application: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert pack(sealed, application, out, "--name", "fib").status == 0

    settings = json.loads((out / "module.json").read_text())["fib"]["settings"]
    assert settings["image"] == IMAGE
    options = json.loads("".join(v for k, v in sorted(settings.items()) if k != "image"))
    host = options["HostConfig"]
    assert (host["Privileged"], host["Binds"]) == (True, ["/lib/optee_armtz:/lib/optee_armtz"])
    assert host["Devices"][0]["PathOnHost"] == "/dev/tee0"
    assert max(map(len, settings.values())) <= 512


def test_a_registry_gets_no_clear_enclave_by_accident(
    sealed: Path, application: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refused = pack(tmp_path / "clear.ta", application, out)

    assert (refused.status, out.exists()) == (2, False)
    assert "encrypted" in refused.err
    assert pack(tmp_path / "clear.ta", application, out, "--clear").status == 0


@pytest.mark.parametrize(
    "place", ["app", "enclave", "enclave/start", "app/fibonacci", "app/fibonacci/data"]
)
def test_a_root_that_is_in_the_way_of_what_is_put_into_the_image_is_refused(
    sealed: Path, application: Path, tmp_path: Path, place: str
) -> None:
    out, file = tmp_path / "out", tmp_path / "root" / place
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    refused = pack(sealed, application, out, "--root", tmp_path / "root")

    assert (refused.status, out.exists()) == (2, False)
    assert f"contents is '{place}'" in refused.err
    file.rename(tmp_path / "root" / "beside")
    assert pack(sealed, application, out, "--root", tmp_path / "root").status == 0


@pytest.mark.parametrize("directory", ["/a:/etc", "lib/optee_armtz", "/", ""])
def test_a_ta_directory_that_would_bind_something_else_is_refused(
    sealed: Path, application: Path, tmp_path: Path, directory: str
) -> None:
    out = tmp_path / "out"
    refused = pack(sealed, application, out, "--ta-directory", directory)

    assert (refused.status, out.exists()) == (2, False)
    assert "--ta-directory" in refused.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.write_bytes(Path("/bin/true").read_bytes()), "EM_X86_64"),
        (lambda a: a.write_text("#!/bin/sh\n"), "no ELF file"),
        (lambda a: a.unlink(), "No such file"),
    ],
    ids=["for another machine", "a script", "absent"],
)
def test_an_application_that_the_box_cannot_run_is_refused_and_nothing_is_left(
    sealed: Path, application: Path, tmp_path: Path, change: object, told: str
) -> None:
    change(application)  # type: ignore[operator]
    before = hashlib.sha256("".join(sorted(p.name for p in tmp_path.iterdir())).encode())
    refused = pack(sealed, application, tmp_path / "out")

    assert refused.status == 2
    assert told in refused.err
    after = hashlib.sha256("".join(sorted(p.name for p in tmp_path.iterdir())).encode())
    assert after.digest() == before.digest()
