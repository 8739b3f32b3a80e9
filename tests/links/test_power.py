"""Power switches against real ends: programs of this machine, and an HTTP server."""

from __future__ import annotations

import base64
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config_power import CommandPower, HttpPower, PduDaemonPower, PowerConfig
from harness.config_secret import SecretFile
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, RigError, TrustBoxError
from harness.power import ConfiguredSwitch
from harness.power_command import run_command
from harness.power_http import ask, ask_pdudaemon
from tests.links.power_server import PowerServer, power_server


@pytest.fixture
def web() -> Iterator[PowerServer]:
    with power_server() as server:
        yield server


def soon() -> Deadline:
    return Deadline.after(20)


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def test_a_command_s_last_line_is_what_it_says() -> None:
    assert run_command(shell("echo one; echo two >&2"), by=soon()) == "two"


def test_a_command_gets_its_words_unchanged() -> None:
    assert run_command(("printf", "%s", "$HOME; a  b"), by=soon()) == "$HOME; a  b"


def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(RigError, match="exited with 3: relay 7 does not answer"):
        run_command(shell("echo relay 7 does not answer >&2; exit 3"), by=soon())


@pytest.mark.parametrize("end", ["exit 3", "sleep 100"], ids=["fails", "hangs"])
def test_of_a_command_that_fails_only_its_program_is_named(end: str) -> None:
    with pytest.raises(TrustBoxError, match="the command sh") as caught:
        run_command((*shell(end), "--key=hunter2"), by=Deadline.after(1))

    assert "hunter2" not in str(caught.value)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(RigError, match="no-such-relay cannot be started"):
        run_command(("no-such-relay", "on"), by=soon())


def test_a_command_s_control_characters_are_spelt() -> None:
    assert "\x1b" not in run_command(("printf", r"\033[2Jon"), by=soon())


def test_what_a_command_leaves_running_is_not_waited_for() -> None:
    assert run_command(shell("sleep 30 & echo done $!"), by=soon()).startswith("done")


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(DeadlineExpired, match="the command sh"):
        run_command(shell(script), by=Deadline.after(1))

    try:
        descriptor = os.pidfd_open(int((tmp_path / "pid").read_text()))
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], 5)[0]
    os.close(descriptor)


def test_a_page_is_asked_for(web: PowerServer) -> None:
    urls = {"on": f"{web.url}/7/on?fast=1", "off": f"{web.url}/7/off"}

    assert ask(HttpPower(urls), "on", by=soon()) == "outlet 7 obeys"  # type: ignore[arg-type]
    assert web.asked == [("GET", "/7/on?fast=1", b"", "")]


def test_a_form_is_posted_with_a_password(web: PowerServer, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    (tmp_path / "pw").chmod(0o600)
    power = HttpPower(
        {"off": f"{web.url}/7"}, "POST", "do={action}", "admin", SecretFile(tmp_path / "pw")
    )
    ask(power, "off", by=soon())

    credentials = base64.b64encode(b"admin:hunter2").decode()
    assert web.asked == [("POST", "/7", b"do=off", f"Basic {credentials}")]


@pytest.mark.parametrize("status", [302, 404, 503])
def test_any_answer_but_2xx_is_a_no(web: PowerServer, status: int) -> None:
    web.switch = lambda path: status
    with pytest.raises(RigError, match=f"answered {status}: outlet 7 obeys") as caught:
        ask(HttpPower({"on": f"{web.url}/on?key=hunter2"}), "on", by=soon())

    assert len(web.asked) == 1
    assert "hunter2" not in caught.value.message


def test_a_switch_that_is_not_there_is_named(web: PowerServer) -> None:
    gone = web.url.rpartition(":")[0] + ":1"
    with pytest.raises(RigError, match="cannot be asked"):
        ask(HttpPower({"on": gone}), "on", by=soon())


def test_a_switch_that_never_answers_costs_the_deadline_and_no_more(web: PowerServer) -> None:
    web.silent.set()
    with pytest.raises(DeadlineExpired, match="power switch"):
        ask(HttpPower({"on": web.url}), "on", by=Deadline.after(0.5))


def test_a_switch_that_drips_its_headers_costs_the_deadline_and_no_more(web: PowerServer) -> None:
    web.drips.set()
    ended = threading.Timer(20, web.drips.clear)
    ended.start()
    with pytest.raises(DeadlineExpired, match="power switch"):
        ask(HttpPower({"on": web.url}), "on", by=Deadline.after(0.5))

    assert web.drips.is_set()  # it was not the switch that ended it
    ended.cancel()


def test_a_pdudaemon_is_asked_in_its_words_and_without_its_delay(web: PowerServer) -> None:
    ask_pdudaemon(PduDaemonPower(web.url, hostname="pdu 1", port="4"), "off", by=soon())
    ask_pdudaemon(PduDaemonPower(web.url, alias="bench-07"), "on", by=soon())

    assert [path for _, path, _, _ in web.asked] == [
        "/power/control/off?delay=0&hostname=pdu+1&port=4",
        "/power/control/on?delay=0&alias=bench-07",
    ]


def test_a_switch_does_what_its_entry_says(tmp_path: Path) -> None:
    write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    argv = {do: (sys.executable, "-c", write, f"{tmp_path}/log", do) for do in ("on", "off")}
    switch = ConfiguredSwitch("b", PowerConfig(CommandPower(argv)))  # type: ignore[arg-type]
    switch.do("off", by=soon())
    switch.do("on", by=soon())

    assert (tmp_path / "log").read_text() == "offon"
    assert switch.can("on")
    assert not switch.can("cycle")


def test_a_switch_is_given_the_time_that_its_entry_says_and_no_more() -> None:
    power = PowerConfig(CommandPower({"on": ("sleep", "30")}), answer_seconds=0.3)
    with pytest.raises(DeadlineExpired):
        ConfiguredSwitch("b", power).do("on", by=soon())
