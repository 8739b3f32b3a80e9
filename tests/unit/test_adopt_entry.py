"""A targets file is a person's own: one entry changes, the rest stays to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import adopt_entry
from harness.adopt_look import parse_key
from harness.config import choose_bench, load_targets
from harness.errors import BadInput, Misuse

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B"
KEPT = """\
# the lab by the window
[bench-01]            # the old one
kind = "bench"
address = "192.0.2.1"
client_key = "key"
host_key = "{key}"
serial_url = "/dev/ttyUSB1"

[bench-01.power]
command = ["relay", "{{action}}"]  # outlet 3
"""


def _entry(**changed: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "kind": "bench",
        "serial": "TB-0042",
        "address": "192.0.2.7",
        "client_key": "/etc/key",
        "host_key": KEY,
        "serial_url": "/dev/ttyUSB0",
        "console": {"user": "root"},
    }
    return entry | changed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "targets.toml"
    path.write_text(KEPT.format(key=KEY))
    return path


def test_an_entry_is_added_and_everything_else_stays_to_the_letter(file: Path) -> None:
    before = file.read_text()

    adopt_entry.put(file, "bench-07", _entry(), replace=False)

    assert file.read_text().startswith(before)
    added = choose_bench("bench-07", file)
    assert (added.serial, added.endpoint.host) == ("TB-0042", "192.0.2.7")
    assert choose_bench("bench-01", file).power is not None


def test_the_first_entry_makes_the_file_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "targets.toml"

    adopt_entry.put(path, "bench-07", _entry(), replace=False)

    assert path.stat().st_mode & 0o777 == 0o600
    assert "bench-07" in load_targets(path)


def test_an_entry_that_is_there_is_not_overwritten(file: Path) -> None:
    before = file.read_text()

    with pytest.raises(Misuse, match="has a target called bench-01 already"):
        adopt_entry.put(file, "bench-01", _entry(), replace=False)

    assert file.read_text() == before


def test_replacing_takes_the_old_entry_s_tables_with_it(file: Path) -> None:
    adopt_entry.put(file, "bench-02", _entry(), replace=False)

    adopt_entry.put(file, "bench-01", _entry(), replace=True)

    assert choose_bench("bench-01", file).serial == "TB-0042"
    assert choose_bench("bench-01", file).power is None
    assert choose_bench("bench-02", file).serial == "TB-0042"
    assert file.read_text().startswith("# the lab by the window")


def test_another_host_key_changes_nothing_but_that(file: Path) -> None:
    before = file.read_text()

    adopt_entry.set_host_key(file, "bench-01", OTHER_KEY)

    assert file.read_text() == before.replace(KEY, OTHER_KEY)


def test_a_bench_that_is_not_in_the_file_is_not_pinned(file: Path) -> None:
    with pytest.raises(Misuse, match="emulator is not in"):
        adopt_entry.set_host_key(file, "emulator", OTHER_KEY)


@pytest.mark.parametrize(
    ("name", "changed"),
    [("bench 07", {}), ("bench-07", {"host_key": "nonsense"}), ("bench-07", {"prot": 1})],
)
def test_an_entry_that_cannot_be_leaves_the_file_as_it_was(
    file: Path, name: str, changed: dict[str, object]
) -> None:
    before = file.read_text()

    with pytest.raises(BadInput):
        adopt_entry.put(file, name, _entry(**changed), replace=False)
    with pytest.raises(BadInput):
        adopt_entry.check(name, _entry(**changed), where="the new entry")

    assert file.read_text() == before


def test_a_file_that_is_wrong_already_is_not_touched(file: Path) -> None:
    file.write_text("[bench-01]\nkind = 7\n")

    with pytest.raises(BadInput):
        adopt_entry.put(file, "bench-07", _entry(), replace=False)

    assert file.read_text() == "[bench-01]\nkind = 7\n"


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(file)

    adopt_entry.put(link, "bench-07", _entry(), replace=False)

    assert link.is_symlink()
    assert "bench-07" in load_targets(file)


def test_the_file_s_mode_stays(file: Path) -> None:
    file.chmod(0o640)

    adopt_entry.put(file, "bench-07", _entry(), replace=False)

    assert file.stat().st_mode & 0o777 == 0o640


def test_a_host_key_is_read_with_its_fingerprint() -> None:
    key = parse_key(f"{KEY} root@box")

    assert key is not None
    assert key.text == KEY
    assert key.fingerprint.startswith("SHA256:")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        "ssh-rsa " + KEY.split()[1],
        "ssh-dss AAAAB3NzaC1kc3MAAACBAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        f'command="x" {KEY}',
    ],
)
def test_what_is_no_host_key_is_none(line: str) -> None:
    assert parse_key(line) is None
