"""First contact: a real shell on a real pty, a real OpenSSH server, and a targets file.

The box's places are directories of the test's own: this machine's keys and homes are not touched.
"""

from __future__ import annotations

import getpass
import os
import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import adopt_entry
from harness.adopt import Wish, adopt
from harness.adopt_key import ensure_key
from harness.adopt_repin import Repinned, repin
from harness.bench_lock import BenchHeld
from harness.bench_opening import hold_rig
from harness.config import choose_bench
from harness.config_bench import BenchConfig
from harness.console_login import ConsoleLogin
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse, UntrustedHost
from harness.target import Layout
from provisioning.cli.bench import repin_box
from tests.links.faulty_line import Box
from tests.links.sshd import CONFIG, LocalSshd, make_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SERIAL = "TB-0042"


@dataclass(slots=True)
class Lab:
    """A box that nobody knows yet, and where its entry shall stand."""

    box: Box
    sshd: LocalSshd
    directory: Path
    file: Path

    @property
    def keys(self) -> Path:
        return self.directory / "home/.ssh/authorized_keys"

    def wish(self) -> Wish:
        return Wish(
            name="bench-07",
            serial_url=self.box.host,
            client_key=self.directory / "station_key",
            preset="emulator",
            address="127.0.0.1",
            port=self.sshd.endpoint().port,
            user=getpass.getuser(),
            ssh_directory=str(self.directory / "ssh"),
            serial_paths=(str(self.directory / "serial"),),
            home=str(self.directory / "home"),
            layout=Layout(agent_directory=str(self.directory)),
        )

    def known(self) -> None:
        """An entry as adopting writes it, without waiting for a console."""
        wish = self.wish()
        ensure_key(wish.client_key)
        entry = {
            "kind": "bench",
            "preset": "emulator",
            "serial": SERIAL,
            "address": "127.0.0.1",
            "port": wish.port,
            "user": wish.user,
            "client_key": str(wish.client_key),
            "host_key": self.host_key(),
            "serial_url": wish.serial_url,
            "serial_paths": list(wish.serial_paths),
        }
        adopt_entry.put(self.file, "bench-07", entry, replace=False)

    def host_key(self) -> str:
        public = (self.directory / "ssh/ssh_host_ecdsa_key.pub").read_text()
        return " ".join(public.split()[:2])

    def new_host_key(self) -> str:
        """As a reflash does it: another key, and no authorized_keys any more."""
        for old in (self.directory / "ssh").iterdir():
            old.unlink()
        self.keys.unlink(missing_ok=True)
        return make_key(self.directory / "ssh/ssh_host_ecdsa_key")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("TRUSTBOX_LAB", str(tmp_path / "locks"))
    for made in ("ssh", "home"):
        (tmp_path / made).mkdir()
    (tmp_path / "serial").write_text(SERIAL + "\n")
    make_key(tmp_path / "ssh/ssh_host_ecdsa_key")
    sshd = LocalSshd(tmp_path)
    sshd.open()
    config = CONFIG.format(keys=tmp_path)
    config = config.replace(f"{tmp_path}/host", f"{tmp_path}/ssh/ssh_host_ecdsa_key")
    config = config.replace(f"{tmp_path}/client.pub", f"{tmp_path}/home/.ssh/authorized_keys")
    (tmp_path / "config").write_text(config)
    box = Box(("dash", "-i"), tmp_path).on()
    box.console.detach()  # the line is for who adopts it
    yield Lab(box, sshd, tmp_path, tmp_path / "targets.toml")
    box.off()
    sshd.close()


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


def test_a_key_that_is_there_is_not_put_there_twice_and_others_stay(lab: Lab, by: Deadline) -> None:
    lab.keys.parent.mkdir(mode=0o755)
    lab.keys.write_text("# somebody's\nssh-ed25519 AAAA other@station")  # without a line end
    adopt(lab.wish(), ConsoleLogin(), lab.file, by=by)
    once = lab.keys.read_text()

    done = adopt(lab.wish(), ConsoleLogin(), lab.file, replace=True, by=by)

    assert not done.key_added
    assert lab.keys.read_text() == once
    assert once.splitlines()[:2] == ["# somebody's", "ssh-ed25519 AAAA other@station"]
    assert len(once.splitlines()) == 3


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


def test_a_station_s_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config/bench_key"

    line = ensure_key(path)

    assert ensure_key(path) == line
    assert path.stat().st_mode & 0o777 == 0o600
    assert line.startswith("ssh-ed25519 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_the_key_of_another_user_than_root_is_in_files_of_that_user(lab: Lab, by: Deadline) -> None:
    adopt(replace(lab.wish(), user="daemon"), ConsoleLogin(), lab.file, by=by)

    user = pwd.getpwnam("daemon")
    for made in (lab.keys, lab.keys.parent):
        assert (made.stat().st_uid, made.stat().st_gid) == (user.pw_uid, user.pw_gid)


def test_a_user_that_the_box_does_not_have_gets_no_key(lab: Lab, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match="the box has no user nobody-here"):
        adopt(replace(lab.wish(), user="nobody-here"), ConsoleLogin(), lab.file, by=by)

    assert not lab.keys.exists()


def test_a_key_of_any_type_is_put_there_and_only_once(lab: Lab, by: Deadline) -> None:
    """One of a type that no host key is pinned with."""
    wish = replace(lab.wish(), client_key=lab.directory / "p521")
    wish.client_key.write_bytes(
        ec.generate_private_key(ec.SECP521R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    lab.keys.parent.mkdir()
    lab.keys.write_text("# somebody's\n")
    added = [adopt(wish, ConsoleLogin(), lab.file, replace=True, by=by).key_added for _ in range(2)]

    assert added == [True, False]
    assert lab.keys.read_text().count("ecdsa-sha2-nistp521 ") == 1


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


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("hello")

    with pytest.raises(Misuse, match="is no OpenSSH private key"):
        ensure_key(path)
    assert path.read_text() == "hello"
