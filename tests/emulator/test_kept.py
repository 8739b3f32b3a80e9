"""Boxes that run between commands: one box, used by several processes, gone when it is stopped."""

from __future__ import annotations

import os
import re
import select
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from emulator import launch, opening, registry
from harness.deadline import Deadline
from harness.errors import BoxDied, RigError
from harness.target import Target, World
from harness.targets import open_target

pytestmark = pytest.mark.timeout(240)

# A kept box is one box on one disk: each parallel worker needs one of its own.
SERIAL = f"TB-KEPT-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').upper()}"
MARK = "/etc/trustbox/mark"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(120)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of this test's own, with a name that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="tb-") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory) / "trustbox"


@pytest.fixture
def kept(runtime: Path) -> Iterator[dict[str, object]]:
    """A box that is kept running, and what its keeper says about it."""
    facts = launch.start(SERIAL, seconds=100, progress=print)
    yield facts
    if registry.is_kept(SERIAL):
        launch.stop(SERIAL, by=Deadline.after(30))


def _attach(by: Deadline) -> AbstractContextManager[Target]:
    return open_target("emulator", serial=SERIAL, fresh=False, by=by)


def _pid(kept: dict[str, object], which: str) -> int:
    pid = kept[which]
    assert isinstance(pid, int)
    return pid


def test_who_comes_later_finds_what_was_done_before(kept: dict[str, object], by: Deadline) -> None:
    with _attach(by) as target:
        target.shell.write(MARK, b"here", by=by)
        target.shell.run("sync", by=by)
    with _attach(by) as target:
        assert target.shell.read(MARK, by=by) == b"here"
    assert registry.kept() == [SERIAL]

    launch.stop(SERIAL, by=by)
    assert registry.kept() == []
    launch.start(SERIAL, seconds=100)

    with _attach(by) as target:
        assert target.shell.read(MARK, by=by) == b"here"
        target.rig.restore(by=by)
        assert target.shell.run("test", "-e", MARK, by=by, check=False).status == 1


def test_nobody_else_can_boot_it_from_the_same_disk(kept: dict[str, object], by: Deadline) -> None:
    with pytest.raises(RigError, match=f"in use by process {kept['keeper_pid']}"):
        opening.hold_own(name=SERIAL, serial=SERIAL, by=by)


def test_its_console_is_shared(kept: dict[str, object], by: Deadline) -> None:
    with _attach(by) as one, _attach(by) as another:
        one.shell.run("sh", "-c", "echo said-once >/dev/ttyAMA0", by=by)

        for target in (one, another):
            assert target.consoles[World.NORMAL].expect(re.compile(rb"said-once"), by=by)


def test_its_death_reaches_everybody(kept: dict[str, object], by: Deadline) -> None:
    with _attach(by) as target:
        os.kill(_pid(kept, "qemu_pid"), signal.SIGKILL)

        with pytest.raises(BoxDied, match="QEMU ended with signal SIGKILL"):
            target.shell.run("sleep", "600", by=by)
        target.rig.on(by=by)
        assert target.shell.run("echo", "back", by=by).text == "back"


def test_a_killed_keeper_leaves_nothing_and_the_next_start_is_clean(
    kept: dict[str, object], runtime: Path, by: Deadline
) -> None:
    qemu = os.pidfd_open(_pid(kept, "qemu_pid"))

    os.kill(_pid(kept, "keeper_pid"), signal.SIGKILL)

    assert select.select([qemu], [], [], 3.0)[0]
    os.close(qemu)
    assert not registry.is_kept(SERIAL)
    launch.start(SERIAL, seconds=100)
    assert registry.kept() == [SERIAL]


def test_what_is_not_kept_says_how_to_start_it(runtime: Path, by: Deadline) -> None:
    with pytest.raises(RigError, match="is not kept running") as refused:
        registry.ask(SERIAL, "info", by=by)

    assert refused.value.diagnostics() == f"Start it: trustbox emulator start --serial {SERIAL}"


def test_requests_that_make_no_sense_are_refused_and_hurt_nobody(
    kept: dict[str, object], by: Deadline
) -> None:
    for nonsense in (
        {"do": "dance"},
        {"do": "on", "seconds": "x"},
        {"do": "console", "world": "third"},
        {"do": ""},
    ):
        with pytest.raises(RigError):
            registry.connect(SERIAL, nonsense, by=by)

    assert registry.ask(SERIAL, "info", by=by)["on"] is True
