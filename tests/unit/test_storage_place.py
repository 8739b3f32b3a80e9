"""Whether the TEE's storage outlives a power cut, by mountinfo; unknown is never good."""

from __future__ import annotations

import pytest

from harness.errors import IntegrityFailure
from harness.storage_place import StoragePlace, place_of
from harness.tee_supplicant import demand_lasting, read_storage

ROOT = "27 1 254:0 / / rw,noatime - ext4 /dev/mmcblk0p2 rw"
TEE = "/var/lib/optee-client/data/tee"


def place(*mounts: str, path: str = TEE, **loops: str) -> StoragePlace:
    return place_of(path, mounts, loops)


@pytest.mark.parametrize(
    ("mounts", "told"),
    [
        pytest.param([ROOT, f"30 27 0:9 / {TEE} rw - tmpfs tee rw"], "tmpfs", id="tmpfs on it"),
        pytest.param([ROOT, "30 27 0:9 / /var rw - ramfs none rw"], "ramfs", id="ramfs above it"),
        pytest.param(["1 1 0:2 / / rw - rootfs rootfs rw"], "rootfs", id="an initramfs"),
        pytest.param(
            [ROOT, f"30 27 1:0 / {TEE} rw - ext4 /dev/ram0 rw"], "/dev/ram0", id="ramdisk"
        ),
        pytest.param([ROOT, "30 27 251:0 / /var rw - ext4 /dev/zram1 rw"], "/dev/zram1", id="zram"),
        pytest.param(
            [
                "26 1 0:7 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/run/up,workdir=/run/w",
                "30 26 0:9 / /run rw - tmpfs run rw",
            ],
            "tmpfs",
            id="an overlay's upper directory",
        ),
    ],
)
def test_a_storage_in_ram_is_told_from_one_that_lasts(mounts: list[str], told: str) -> None:
    found = place(*mounts)

    assert found.lasts is False
    assert told in found.why


def test_a_loop_device_lasts_as_long_as_its_file() -> None:
    over = f"30 27 7:0 / {TEE} rw - ext4 /dev/loop0 rw"
    run = "31 27 0:9 / /run rw - tmpfs run rw"

    assert place(ROOT, over, run, loop0="/run/image").lasts is False
    assert place(ROOT, over, run, loop0="/srv/image").lasts is True
    assert place(ROOT, over, run).lasts is None


def test_what_is_mounted_last_is_what_counts() -> None:
    ram = f"30 27 0:9 / {TEE} rw - tmpfs tee rw"
    disk = f"31 30 254:1 / {TEE} rw - ext4 /dev/mmcblk0p3 rw"

    assert place(ROOT, ram, disk).lasts is True
    assert place(ROOT, disk, ram).lasts is False


@pytest.mark.parametrize(
    "mounts",
    [
        pytest.param([], id="no line"),
        pytest.param(["27 1 254:0 / / rw"], id="half a line"),
        pytest.param(["27 1 0:3 / / rw - fuse.somefs x rw"], id="a file system nobody knows"),
        pytest.param(
            ["26 1 0:7 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/up,workdir=/w"],
            id="an overlay whose upper directory is hidden",
        ),
        pytest.param(["26 1 0:7 / / ro - overlay overlay ro,lowerdir=/a"], id="read-only overlay"),
    ],
)
def test_what_cannot_be_told_is_unknown(mounts: list[str]) -> None:
    assert place(*mounts).lasts is None


def test_a_mount_point_is_read_with_its_blanks() -> None:
    ram = "30 27 0:9 / /var/the\\040tee rw - tmpfs tee rw"

    assert place(ROOT, ram, path="/var/the tee").lasts is False


def test_a_storage_in_ram_is_refused_and_named() -> None:
    with pytest.raises(IntegrityFailure, match=f"{TEE}.*tmpfs.*gone at the next boot"):
        demand_lasting(place(ROOT, f"30 27 0:9 / {TEE} rw - tmpfs tee rw"))
    demand_lasting(place(ROOT))


def test_a_root_that_nobody_named_is_unknown_although_its_disk_lasts() -> None:
    """The layout may be wrong: neither the command line nor the program itself has that path."""
    said = f"supplicant 155 S\nroot {TEE}\nmount {ROOT}\n"

    assert read_storage(said, TEE).place.lasts is None
    assert read_storage(f"{said}told\n", TEE).place.lasts is True
