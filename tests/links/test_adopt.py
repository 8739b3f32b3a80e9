"""First contact: a real shell on a real pty, a real OpenSSH server, and a targets file.

The box's places are directories of the test's own: this machine's keys and homes are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness.adopt import adopt
from harness.adopt_repin import Repinned, repin
from harness.bench_lock import BenchHeld
from harness.bench_opening import hold_rig
from harness.config import choose_bench
from harness.config_bench import BenchConfig
from harness.console_login import ConsoleLogin
from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse, UntrustedHost
from provisioning.cli.bench import repin_box
from tests.links.adopt_lab import SERIAL, Lab, a_lab
from tests.links.sshd import CONFIG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with a_lab(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def _bench(lab: Lab) -> BenchConfig:
    """The entry, with the helper's place on this machine instead of a box's."""
    found = choose_bench("bench-07", lab.file)
    return replace(found, layout=lab.wish().layout)


def _repin(lab: Lab, confirm: Callable[[str, str], bool], by: Deadline) -> Repinned:
    return repin(
        _bench(lab),
        serial=SERIAL,
        file=lab.file,
        confirm=confirm,
        by=by,
        ssh_directory=str(lab.directory / "ssh"),
        home=str(lab.directory / "home"),
    )


def test_a_box_is_adopted_over_its_console_and_then_trusted_over_ssh(
    lab: Lab, by: Deadline
) -> None:
    done = adopt(lab.wish(), ConsoleLogin(), lab.file, by=by)

    assert (done.identity.serial, done.key_added, done.ssh) == (SERIAL, True, "")
    entry = choose_bench("bench-07", lab.file)
    assert entry.endpoint.host_key == lab.host_key()
    assert entry.serial == SERIAL
    assert lab.keys.stat().st_mode & 0o777 == 0o600
    assert lab.keys.parent.stat().st_mode & 0o777 == 0o700


def test_an_ssh_that_does_not_answer_is_told_and_hinders_nothing(lab: Lab, by: Deadline) -> None:
    wish = lab.wish()
    lab.sshd.shut()

    done = adopt(wish, ConsoleLogin(), lab.file, by=by)

    assert "did not answer as an SSH server" in done.ssh
    assert choose_bench("bench-07", lab.file).serial == SERIAL


def test_somebody_else_at_the_address_is_not_trusted(lab: Lab, by: Deadline) -> None:
    """The box's own key is read over the console; what SSH offers is another."""
    (lab.directory / "config").write_text(CONFIG.format(keys=lab.directory))

    with pytest.raises(UntrustedHost):
        adopt(lab.wish(), ConsoleLogin(), lab.file, by=by)

    assert not lab.file.exists()


def test_another_serial_number_than_the_label_s_ends_it_before_anything_is_done(
    lab: Lab, by: Deadline
) -> None:
    with pytest.raises(IntegrityFailure, match=f"reports serial number {SERIAL}"):
        adopt(replace(lab.wish(), serial="TB-0001"), ConsoleLogin(), lab.file, by=by)

    assert not lab.keys.exists()
    assert not lab.file.exists()


def test_a_box_without_a_serial_number_gets_no_entry(lab: Lab, by: Deadline) -> None:
    (lab.directory / "serial").unlink()

    with pytest.raises(IntegrityFailure, match="reports no serial number"):
        adopt(lab.wish(), ConsoleLogin(), lab.file, by=by)


def test_a_serial_line_that_somebody_holds_is_left_alone(lab: Lab, by: Deadline) -> None:
    lab.known()
    rig = hold_rig(choose_bench("bench-07", lab.file), serial=SERIAL)
    try:
        with pytest.raises(BenchHeld, match="is held by"):
            adopt(replace(lab.wish(), name="another-name"), ConsoleLogin(), lab.file, by=by)
    finally:
        rig.close()


def test_a_name_that_is_taken_is_refused_before_the_console_is_opened(
    lab: Lab, by: Deadline
) -> None:
    lab.known()

    with pytest.raises(Misuse, match="already"):
        adopt(replace(lab.wish(), serial_url="/nowhere"), ConsoleLogin(), lab.file, by=by)


def test_a_changed_host_key_is_pinned_when_somebody_confirms_it(lab: Lab, by: Deadline) -> None:
    lab.known()
    new = lab.new_host_key()
    asked: list[tuple[str, str]] = []

    def yes(old: str, offered: str) -> bool:
        asked.append((old, offered))
        return True

    done = _repin(lab, yes, by)

    assert asked == [(done.old, done.new)]
    assert (done.changed, done.key_added) == (True, True)
    assert choose_bench("bench-07", lab.file).endpoint.host_key == new


def test_a_changed_host_key_that_nobody_confirms_stays_out(lab: Lab, by: Deadline) -> None:
    lab.known()
    before = lab.file.read_text()
    lab.new_host_key()

    with pytest.raises(Misuse, match="nobody confirmed it"):
        _repin(lab, lambda old, new: False, by)

    assert lab.file.read_text() == before
    assert not lab.keys.exists()


def test_a_key_that_is_right_is_no_question(lab: Lab, by: Deadline) -> None:
    lab.known()

    def never(old: str, new: str) -> bool:
        pytest.fail("nothing changed, so there is nothing to ask")

    done = _repin(lab, never, by)

    assert (done.changed, done.key_added) == (False, True)


def test_the_wrong_box_is_not_pinned(lab: Lab, by: Deadline) -> None:
    lab.known()
    (lab.directory / "serial").write_text("TB-0666\n")

    with pytest.raises(IntegrityFailure, match="TB-0666"):
        _repin(lab, lambda old, new: True, by)


def test_the_entry_names_the_file_of_the_password_that_let_in(lab: Lab, by: Deadline) -> None:
    """This box asks for none, so it did not ask for a new one either."""
    wish = replace(
        lab.wish(), password_file=lab.directory / "pw", new_password_file=lab.directory / "new"
    )
    done = adopt(wish, ConsoleLogin(), lab.file, by=by)

    assert done.entry["console"] == {"user": "root", "password_file": f"{lab.directory}/pw"}


def test_a_bench_that_is_replaced_is_locked_where_its_entry_says(lab: Lab, by: Deadline) -> None:
    lab.known()
    shared = lab.directory / "shared"
    lab.file.write_text(lab.file.read_text() + f'lab_directory = "{shared}"\n')
    rig = hold_rig(choose_bench("bench-07", lab.file), serial=SERIAL)
    with pytest.raises(BenchHeld, match="is held by"):
        adopt(lab.wish(), ConsoleLogin(), lab.file, replace=True, by=by)
    rig.close()

    adopt(lab.wish(), ConsoleLogin(), lab.file, replace=True, by=by)
    assert choose_bench("bench-07", lab.file).lab_directory == shared


def test_a_host_key_is_never_asked_about_unseen(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.known()
    lab.new_host_key()
    here = partial(repin, ssh_directory=f"{lab.directory}/ssh", home=f"{lab.directory}/home")
    monkeypatch.setattr("provisioning.cli.bench.repin", here)
    monkeypatch.setattr("provisioning.cli.bench.choose_bench", lambda name, file: _bench(lab))
    with pytest.raises(Misuse, match="nobody confirmed it"):
        repin_box("bench-07", serial=SERIAL, yes="SHA256:x", config=lab.file, as_json=True)

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("SHA256:") == 2
