"""A helper on a serial line gives the console back to the login soon after its host went away."""

from __future__ import annotations

import os
import re
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import agent_build
from harness.agent_build import sources
from harness.deadline import Deadline
from harness.errors import LinkLost
from harness.uart_frames import LinkFrame, LinkKind
from harness.uart_keep import KEEP_ALIVE_SECONDS, UNANSWERED, KeptLink
from harness.vitals import Vitals
from tests.links.faulty_line import Box

LEAVE_SECONDS = 2.0
"""Of the helpers here, which are built for it."""


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    flags = (*agent_build.FLAGS, f"-DLEAVE_MS={LEAVE_SECONDS * 1000:.0f}")
    monkeypatch.setattr(agent_build, "FLAGS", flags)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "box"
    place.mkdir()
    made = Box(("dash", "-i"), place).on()
    yield made
    made.off()


def test_the_host_speaks_often_enough_for_the_helper_that_ships() -> None:
    found = re.search(rb"#define LEAVE_MS (\d+)", sources()["uart.c"])
    assert found is not None
    seconds = int(found[1]) / 1000

    assert 20 <= seconds <= 30
    assert seconds >= 5 * KEEP_ALIVE_SECONDS


@pytest.mark.slow
@pytest.mark.fault(
    "Box",
    "the station dies while it has a session on a box's serial console",
    comes="25 s after the last word the box kills what ran, and its console asks for a login again",
    then="nothing; the next command logs in (docs/security.md: who is on the line meanwhile)",
)
def test_after_the_host_s_death_the_console_is_given_back_and_its_program_is_killed(
    box: Box, by: Deadline, tmp_path: Path
) -> None:
    shell = box.shell()
    shell.run("true", by=by)

    def command() -> None:
        with pytest.raises(LinkLost):
            shell.run("sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 1000", by=by)

    running = threading.Thread(target=command)
    running.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        by.left("the program to start")
        running.join(0.02)
    program = os.pidfd_open(int((tmp_path / "pid").read_text()))
    box.console.detach()  # from here on nothing reaches the box
    running.join()
    box.console.attach(box.host)

    box.console.expect(re.compile(rb"trustbox-helper ended"), by=by.sooner(LEAVE_SECONDS + 20))
    assert select.select([program], [], [], by.left("the program to end"))[0]
    os.close(program)


@pytest.mark.slow
def test_a_session_that_is_open_and_idle_is_not_given_up(box: Box, by: Deadline) -> None:
    shell = box.shell()
    before = shell.run("sh", "-c", "echo $PPID", by=by).text
    session = shell._session
    assert session is not None
    session.link.keep(every=LEAVE_SECONDS / 8)
    helper = os.pidfd_open(int(before))

    assert not select.select([helper], [], [], 2 * LEAVE_SECONDS)[0]
    assert shell.run("sh", "-c", "echo $PPID", by=by).text == before
    os.close(helper)


class Line:
    """Counts what is written."""

    def __init__(self) -> None:
        self.vitals = Vitals("the box")
        self.written = threading.Semaphore(0)
        self.link = KeptLink(7, self._write, self.vitals, str)

    def _write(self, data: bytes) -> None:
        self.written.release()

    def says(self, seconds: float = 30.0) -> bool:
        return self.written.acquire(timeout=seconds)

    def answers(self) -> None:
        self.link.arrived([LinkFrame(LinkKind.ACK, 7, from_box=True)])


@pytest.fixture
def quiet() -> Iterator[Line]:
    made = Line()
    yield made
    made.link.close()


@pytest.fixture
def line(quiet: Line) -> Line:
    quiet.link.keep(every=0.02)
    return quiet


def test_a_helper_that_does_not_answer_is_left_alone_until_it_says_something(line: Line) -> None:
    assert all(line.says() for _ in range(UNANSWERED))
    assert not line.says(0.5)

    line.answers()
    assert line.says()


def test_one_that_answers_is_asked_again_and_again(line: Line) -> None:
    for _ in range(5 * UNANSWERED):
        assert line.says()
        line.answers()


@pytest.mark.parametrize("how", ["it boots", "it is dead", "it ended"])
def test_nothing_is_said_to_a_box_that_is_not_there(quiet: Line, how: str) -> None:
    """A key would stop U-Boot."""
    match how:
        case "it boots":
            quiet.link.text(b"U-Boot 2023.04 (Apr 03 2023)\r\n")
        case "it is dead":
            quiet.vitals.report_death("its power was cut")
        case "it ended":
            quiet.link.text(b"trustbox-helper ended\r\n")
    quiet.link.keep(every=0.02)

    assert not quiet.says(0.4)


def test_a_link_that_was_closed_says_nothing_more(line: Line) -> None:
    assert line.says()
    line.link.close()
    line.answers()
    line.says(0.1)  # one may have been on its way

    assert not line.says(0.4)
