"""Logging in on a console, against Debian's own login program in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.console_login import ConsoleLogin
from harness.deadline import Deadline
from harness.errors import DeviceRefused
from harness.secret import Secret
from tests.links.faulty_line import Box


def namespaces() -> bool:
    """Whether this user can have a mount namespace, and log others in there."""
    if os.geteuid() != 0:
        return False
    return (
        subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0
    )


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not namespaces(), reason="login and mount namespaces need root"),
]

USERS = {
    # name: uid, password, day of its last change (0: it must be changed)
    "root": (0, "trust", 19000),
    "fresh": (0, "trust", 0),
    "bare": (0, "", 19000),
    "admin": (4711, "trust", 19000),
}
NEW = "N3w-passw0rd-of-20-characters"


def secret(text: str) -> Callable[[], Secret]:
    return lambda: Secret(text.encode())


def accounts(etc: Path) -> None:
    """A copy of /etc with users of our own; the machine's is not touched."""
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    passwd = [line for line in (etc / "passwd").read_text().splitlines() if ":0:" not in line]
    shadow = [line for line in (etc / "shadow").read_text().splitlines() if line[:5] != "root:"]
    for name, (uid, password, changed) in USERS.items():
        openssl = ["openssl", "passwd", "-6", password or "unused"]
        coded = subprocess.run(openssl, check=True, capture_output=True, text=True).stdout.strip()
        passwd.append(f"{name}:x:{uid}:{uid}::/tmp:/bin/dash")
        shadow.append(f"{name}:{coded if password else ''}:{changed}:0:99999:7:::")
    (etc / "passwd").write_text("\n".join(passwd) + "\n")
    (etc / "shadow").write_text("\n".join(shadow) + "\n")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    accounts(tmp_path / "etc")
    script = f"mount --bind {tmp_path}/etc /etc && exec login"
    made = Box(("unshare", "-m", "sh", "-c", script), tmp_path).on()
    yield made
    made.off()


@pytest.mark.parametrize(
    "login",
    [
        ConsoleLogin("root", secret("trust")),
        ConsoleLogin("bare"),
        ConsoleLogin("fresh", secret("trust"), secret(NEW)),
    ],
    ids=["password", "no password", "password change"],
)
def test_a_login_leads_to_roots_shell_and_no_secret_is_recorded(
    box: Box, by: Deadline, login: ConsoleLogin
) -> None:
    assert box.shell(login).run("id", "-u", by=by).text == "0"

    said = box.console.transcript()
    assert b"trust\r" not in said
    assert NEW.encode() not in said


def test_a_changed_password_is_the_one_that_counts(box: Box, by: Deadline) -> None:
    box.shell(ConsoleLogin("fresh", secret("trust"), secret(NEW))).close()
    first = box.shell(ConsoleLogin("fresh", secret("trust"), secret(NEW)))
    first.run("true", by=by)
    first.close()

    assert box.shell(ConsoleLogin("fresh", secret(NEW))).run("id", "-u", by=by).text == "0"


def test_a_box_whose_password_was_changed_before_takes_the_new_one(box: Box, by: Deadline) -> None:
    old, new = secret("trust"), secret(NEW)
    shell = box.shell(ConsoleLogin("fresh", old, new))
    shell.run("true", by=by)
    assert shell.let_in_by is new
    shell.close()

    again = box.shell(ConsoleLogin("fresh", old, new))
    assert again.run("id", "-u", by=by).text == "0"
    assert again.let_in_by is new


def test_the_password_that_was_not_changed_is_the_one_that_let_in(box: Box, by: Deadline) -> None:
    old = secret("trust")
    shell = box.shell(ConsoleLogin("root", old, secret(NEW)))
    shell.run("true", by=by)

    assert shell.let_in_by is old


def test_a_shell_that_is_closed_leaves_nobody_logged_in_for_who_comes_right_after(
    box: Box, by: Deadline
) -> None:
    """The first frame of the next one ends in Ctrl-C, to a tty that the helper gave back."""
    password = secret("trust")
    for _ in range(4):
        shell = box.shell(ConsoleLogin("root", password))
        shell.run("true", by=by)
        assert shell.let_in_by is password
        shell.close()


def test_log_lines_over_the_prompts_do_not_keep_one_out(box: Box, by: Deadline) -> None:
    box.log_lines(0.05)

    assert box.shell(ConsoleLogin("root", secret("trust"))).run("id", "-u", by=by).text == "0"


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        (ConsoleLogin("root", secret("wrong")), "the password is wrong"),
        (ConsoleLogin("root", secret("wrong"), secret("wrong too")), "wrong, and so is the new"),
        (ConsoleLogin("nobody-known", secret("trust")), "the password is wrong"),
        (ConsoleLogin("root"), "it asks for a password, and none was given"),
        (ConsoleLogin("fresh", secret("trust")), "wants its password changed, and no new one"),
        (ConsoleLogin("fresh", secret("trust"), secret("x")), "does not take the new password"),
        (ConsoleLogin("admin", secret("trust")), "not root's|sudo"),
    ],
    ids=["wrong", "both wrong", "unknown", "none", "no new one", "bad new one", "not root"],
)
def test_a_login_that_fails_says_why(
    box: Box, by: Deadline, login: ConsoleLogin, reason: str
) -> None:
    with pytest.raises(DeviceRefused, match=reason):
        box.shell(login).run("true", by=by)


def test_closing_logs_out(box: Box, by: Deadline) -> None:
    shell = box.shell(ConsoleLogin("root", secret("trust")))
    shell.run("true", by=by)
    mark = len(box.console.transcript())
    shell.close()

    offset, said = mark, b""
    while b"login: " not in said:
        offset, more = box.console.follow(offset, by=by)
        said += more
