"""What an emulator image promises, looked up in its files; how it runs is for tests/device."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.build import ensure_image
from emulator.flags import ENTROPY_TA, FIP_OFFSET, HUK_OFFSET, HUK_SIZE, PKCS11_TA
from emulator.golden import tee_memory_sha256
from emulator.image import Image
from emulator.running import Tools
from emulator.xtest_tas import set_apart
from harness.deadline import Deadline
from harness.errors import BadInput, BuildFailed

# The first test may have to build the image.
pytestmark = pytest.mark.timeout(900)

NOWHERE = "http://127.0.0.1:9/archive"


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image("current", archive=None, progress=quiet)


def debugfs(image: Image, *command: str) -> str:
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", " ".join(command), str(image.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_an_image_that_is_there_is_found_without_a_network(image: Image) -> None:
    told: list[str] = []

    assert ensure_image("current", archive=NOWHERE, progress=told.append) == image
    assert told == []


def test_an_archive_that_cannot_be_reached_fails_the_build_and_leaves_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTBOX_CACHE", str(tmp_path))

    with pytest.raises(BuildFailed) as failed:
        ensure_image("current", archive=NOWHERE, progress=quiet)

    assert failed.value.step == "archive lists"
    assert not (tmp_path / "images").exists()
    assert not list((tmp_path / "build").glob("staging-*"))


def test_a_profile_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BadInput, match="'tomorrow', expected current or shipped"):
        ensure_image("tomorrow", archive=None, progress=quiet)


def test_every_file_is_the_one_that_the_digest_stands_for(image: Image) -> None:
    index = json.loads((image.directory / "image.json").read_text())
    found = {
        str(file.relative_to(image.directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in image.directory.rglob("*")
        if file.is_file() and file.name != "image.json"
    }

    assert found == index["files"]
    assert image.directory.name == image.digest


def test_the_golden_measurement_is_computed_from_the_core(image: Image) -> None:
    assert tee_memory_sha256(image.tee_elf) == image.golden_tee


def test_the_place_of_the_device_key_is_free_and_the_fip_follows(image: Image) -> None:
    flash = image.flash.read_bytes()

    assert flash[HUK_OFFSET : HUK_OFFSET + HUK_SIZE] == bytes(HUK_SIZE)
    # TF-A, include/tools_share/firmware_image_package.h: TOC_HEADER_NAME
    assert int.from_bytes(flash[FIP_OFFSET : FIP_OFFSET + 4], "little") == 0xAA640001


@pytest.mark.parametrize("uuid", [PKCS11_TA, ENTROPY_TA], ids=["pkcs11", "entropy"])
def test_trusted_applications_are_signed_in_clear_with_the_images_key(
    image: Image, tmp_path: Path, uuid: str
) -> None:
    ta = tmp_path / f"{uuid}.ta"
    debugfs(image, "dump", f"/usr/lib/optee_armtz/{uuid}.ta", str(ta))

    # core/include/signed_hdr.h: SHDR_MAGIC, then the type: 1 bootstrap TA, 2 encrypted TA
    assert ta.read_bytes()[:8] == b"HSTO" + (1).to_bytes(4, "little")
    assert verifies(image, uuid, ta, image.ta_key)


def test_trusted_applications_do_not_verify_with_another_key(image: Image, tmp_path: Path) -> None:
    ta = tmp_path / f"{ENTROPY_TA}.ta"
    debugfs(image, "dump", f"/usr/lib/optee_armtz/{ENTROPY_TA}.ta", str(ta))

    assert not verifies(image, ENTROPY_TA, ta, image.directory / "rot_key.pem")


def test_xtest_s_applications_lie_apart_and_are_signed_with_the_images_key(
    image: Image, tmp_path: Path
) -> None:
    crypt = "cb3e5ba0-adf1-11e0-998b-0002a5d5c51b"
    ta = tmp_path / f"{crypt}.ta"
    debugfs(image, "dump", f"/usr/lib/trustbox/xtest/{crypt}.ta", str(ta))

    assert crypt not in debugfs(image, "ls", "/usr/lib/optee_armtz")
    assert verifies(image, crypt, ta, image.ta_key)


def test_a_file_that_is_no_application_stops_the_build(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/optee_armtz"
    place.mkdir(parents=True)
    (place / f"{ENTROPY_TA}.ta").write_bytes(b"\x7fELF" + bytes(60))

    with pytest.raises(BuildFailed, match="is no signed image"):
        set_apart(tmp_path, tmp_path, tmp_path, Tools(tmp_path / "log", Deadline.after(5), quiet))


def verifies(image: Image, uuid: str, ta: Path, key: Path) -> bool:
    tool = [sys.executable, str(image.devkit / "scripts/sign_encrypt.py"), "verify"]
    words = ["--uuid", uuid, "--in", str(ta), "--key", str(key)]
    done = subprocess.run([*tool, *words], capture_output=True, text=True, check=False)
    return done.returncode == 0


def test_signing_keys_can_be_read_by_their_owner_only(image: Image) -> None:
    keys = [*image.directory.rglob("*.pem")]

    assert {key.name for key in keys} == {"ta_key.pem", "rot_key.pem"}
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


@pytest.mark.parametrize(
    "path", ["/", "/etc/shadow", "/usr/sbin/sshd", "/usr/lib/trustbox/wakeup", "/root"]
)
def test_everything_on_the_disk_belongs_to_root(image: Image, path: str) -> None:
    owner = re.search(r"User:\s+(\d+)\s+Group:\s+(\d+)", debugfs(image, "stat", path))

    assert owner is not None
    assert owner.groups()[0] == "0"


def test_the_disk_carries_no_key_that_boxes_would_share(image: Image) -> None:
    assert "ssh_host" not in debugfs(image, "ls", "/etc/ssh")
    assert "authorized_keys" not in debugfs(image, "ls", "/root")


def test_the_disk_has_room_for_a_user(image: Image) -> None:
    facts = debugfs(image, "show_super_stats", "-h")
    blocks = re.search(r"Free blocks:\s+(\d+)", facts)
    size = re.search(r"Block size:\s+(\d+)", facts)

    assert blocks and size
    assert int(blocks[1]) * int(size[1]) >= 100 << 20


def test_the_manifest_names_version_and_hash_of_each_component(image: Image) -> None:
    components = json.loads(image.manifest.read_text())["components"]

    assert {"optee-os", "arm-trusted-firmware", "mbedtls", "u-boot-qemu", "openssh-server"} <= {
        component["name"] for component in components
    }
    for component in components:
        assert component["version"]
        assert re.fullmatch(r"[0-9a-f]{64}", component["hashes"][0]["content"])


def test_the_manifest_says_with_which_options_optee_was_built(image: Image) -> None:
    properties = json.loads(image.manifest.read_text())["metadata"]["properties"]

    assert {"name": "trustbox:flag:optee-os:CFG_ATTESTATION_PTA", "value": "y"} in properties
    assert {"name": "trustbox:flag:arm-trusted-firmware:TRUSTED_BOARD_BOOT", "value": "1"} in (
        properties
    )
