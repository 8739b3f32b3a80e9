"""An exported image arrives whole, or nothing of it arrives."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.bundle import export_image, import_image
from emulator.image import Image
from emulator.image_store import find_image, keep_image, write_index
from emulator.stages import digest_of
from harness.errors import BadInput, RigError

FACTS: dict[str, object] = {
    "profile": "current",
    "recipe": "00" * 32,
    "optee_version": "4.10.0-2",
    "bootcmd": "boot",
}
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUSTBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    made = tmp_path / "made"
    (made / "devkit/mk").mkdir(parents=True)
    for name in ("flash.bin", "kernel", "tee.elf", "cmdline", "devkit/mk/kit.mk", "ta_key.pem"):
        (made / name).write_text(f"content of {name}")
    (made / "ta_key.pem").chmod(0o600)
    (made / "golden.json").write_text(json.dumps({"tee_memory_sha256": "ab" * 32}))
    with (made / "root.ext4").open("wb") as disk:
        disk.truncate(8 << 20)
        disk.seek(5 << 20)
        disk.write(b"something")
    write_index(made, FACTS)
    return Image.load(made)


@pytest.fixture
def bundle(tmp_path: Path, image: Image) -> Path:
    file = tmp_path / "image.tar.gz"
    export_image(image, file)
    return file


def quiet(line: str) -> None:
    pass


def test_an_imported_image_is_the_exported_one(cache: Path, image: Image, bundle: Path) -> None:
    arrived = import_image(bundle, progress=quiet)

    assert arrived.digest == image.digest
    assert arrived.directory == cache / "images" / image.digest
    assert arrived.root.read_bytes() == image.root.read_bytes()
    assert find_image(cache / "images", "00" * 32) == arrived


def test_signing_keys_stay_private_on_the_way(cache: Path, bundle: Path) -> None:
    arrived = import_image(bundle, progress=quiet)

    assert bundle.stat().st_mode & 0o777 == 0o600
    assert arrived.ta_key.stat().st_mode & 0o777 == 0o600


def test_an_imported_disk_is_sparse(cache: Path, bundle: Path) -> None:
    status = import_image(bundle, progress=quiet).root.stat()

    assert status.st_size == 8 << 20
    assert status.st_blocks * 512 <= 2 << 20


def test_importing_twice_gives_the_same_image(cache: Path, bundle: Path) -> None:
    assert import_image(bundle, progress=quiet) == import_image(bundle, progress=quiet)


def rewritten(bundle: Path, change: Callable[[Members], None]) -> Path:
    members: Members = []
    with tarfile.open(bundle) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            members.append((member, content.read()))
    change(members)
    with tarfile.open(bundle, "w:gz") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return bundle


def one(members: Members, name: str) -> int:
    return next(n for n, (member, _) in enumerate(members) if member.name.endswith("/" + name))


def flipped_byte(members: Members) -> None:
    n = one(members, "flash.bin")
    members[n] = (members[n][0], b"C" + members[n][1][1:])


def file_left_out(members: Members) -> None:
    del members[one(members, "kernel")]


def file_added(members: Members) -> None:
    extra = tarfile.TarInfo(members[0][0].name.rsplit("/", 1)[0] + "/extra")
    members.append((extra, b""))


def file_twice(members: Members) -> None:
    members.append(members[one(members, "kernel")])


def symlink(members: Members) -> None:
    n = one(members, "kernel")
    member = members[n][0]
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0


def index_last(members: Members) -> None:
    members.append(members.pop(0))


def index_changed(members: Members) -> None:
    member, text = members[0]
    changed = text.replace(b'"4.10.0-2"', b'"4.99.0-2"')
    members[0] = (member, changed)


def escaping(name: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        index = json.loads(members[0][1])
        index["files"][name] = "ab" * 32
        text = json.dumps(index).encode()
        place = f"trustbox-image-{digest_of(index)}"
        for member, _ in members:
            member.name = f"{place}/{member.name.split('/', 1)[1]}"
        members[0][0].size = len(text)
        members[0] = (members[0][0], text)
        extra = tarfile.TarInfo(f"{place}/{name}")
        members.append((extra, b""))

    return change


@pytest.mark.parametrize(
    "change",
    [
        flipped_byte,
        file_left_out,
        file_added,
        file_twice,
        symlink,
        index_last,
        index_changed,
        escaping("../../escaped"),
        escaping("/tmp/escaped"),
        escaping("flash.bin/below-a-file"),
        escaping("image.json"),
    ],
    ids=lambda change: change.__qualname__.split(".")[0],
)
def test_a_bundle_that_was_changed_is_refused_and_leaves_nothing(
    cache: Path, bundle: Path, change: Callable[[Members], None]
) -> None:
    rewritten(bundle, change)

    with pytest.raises(BadInput):
        import_image(bundle, progress=quiet)

    assert [file.name for file in cache.rglob("*") if file.is_file()] == ["lock"]
    assert not list(cache.parent.glob("escaped"))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99], ids=["empty", "half", "without its end"])
def test_a_bundle_that_was_cut_short_is_refused(cache: Path, bundle: Path, kept: float) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(BadInput):
        import_image(bundle, progress=quiet)

    assert not (cache / "images").exists()


def test_a_file_that_is_no_bundle_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a bundle")

    with pytest.raises(BadInput, match="an image made by export"):
        import_image(tmp_path / "notes.txt", progress=quiet)


def test_an_export_that_fails_leaves_no_file(tmp_path: Path, image: Image) -> None:
    image.kernel.unlink()

    with pytest.raises(FileNotFoundError):
        export_image(image, tmp_path / "out.tar.gz")

    assert not list(tmp_path.glob("*out.tar.gz*"))


def test_an_image_that_lacks_a_file_is_not_found_but_built_again(
    tmp_path: Path, image: Image
) -> None:
    kept = keep_image(tmp_path / "images", image.directory)
    kept.kernel.unlink()

    assert find_image(tmp_path / "images", kept.recipe) is None


def test_an_image_of_another_format_says_what_to_do(image: Image) -> None:
    index = image.directory / "image.json"
    index.write_text(index.read_text().replace('"format": 1', '"format": 99'))

    with pytest.raises(RigError, match="format 99"):
        Image.load(image.directory)
