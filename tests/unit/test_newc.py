"""The archives that tell a box on its first boot who it is."""

from __future__ import annotations

from emulator import newc


def _unpack(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """As the kernel does it (Linux init/initramfs.c), up to the trailer."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        body = at + (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[body : body + size])
        at = body + (size + 3) // 4 * 4


def test_files_come_out_as_they_went_in_below_directories_that_exist() -> None:
    files = {"factory/serial": newc.Entry(b"TB-1\n", 0o644), "factory/key": newc.Entry(b"k" * 333)}

    unpacked = _unpack(newc.archive(files))

    assert list(unpacked) == ["factory", "factory/key", "factory/serial"]
    assert unpacked["factory"] == (0o040755, b"")
    assert unpacked["factory/key"] == (0o100600, b"k" * 333)
    assert unpacked["factory/serial"] == (0o100644, b"TB-1\n")


def test_the_same_files_give_the_same_bytes_and_archives_can_be_joined() -> None:
    files = {"a": newc.Entry(b"1"), "b/c": newc.Entry(b"2")}

    assert newc.archive(files) == newc.archive(dict(reversed(files.items())))
    assert len(newc.archive(files)) % 512 == 0
