"""The helper onto a box over nothing but a shell on its console: in checked pieces, once a boot."""

from __future__ import annotations

import base64
import gzip
import hashlib
import logging
import shlex
from dataclasses import dataclass

from harness.agent_build import agent_for, agent_name
from harness.box_directory import why_unsafe
from harness.console_cksum import cksum
from harness.console_dialogue import Dialogue
from harness.console_signs import SAY_HELPER_ENDED
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Unreachable
from harness.secret import Secret
from harness.target import Layout

TOOLS = ("base64", "gzip", "sha256sum", "sudo")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the shell is, and what the box has."""

    uid: str
    machine: str
    there: bool
    tools: frozenset[str]


def ask_facts(dialogue: Dialogue, layout: Layout, *, by: Deadline) -> Facts:
    """Raises Unreachable, DeadlineExpired, BoxDied; DeviceRefused for an answer that is none."""
    path = shlex.quote(helper_path(layout))
    tools = ";".join(f"command -v {tool} >/dev/null&&echo {tool}" for tool in TOOLS)
    script = (
        f"echo $(id -u;uname -m;test -x {path}&&test ! -L {path}&&echo there||echo absent;{tools})"
    )
    words = dialogue.ask(script, by=by).split()
    if len(words) < 3 or not words[0].isdigit():
        raise DeviceRefused(f"the shell on the console is no POSIX shell: it says {words!r:.80}")
    return Facts(words[0], words[1], words[2] == "there", frozenset(words[3:]))


def helper_path(layout: Layout) -> str:
    return f"{layout.agent_directory}/{agent_name()}"


def become_root(dialogue: Dialogue, facts: Facts, password: Secret | None, *, by: Deadline) -> None:
    """Have ``sudo`` make the shell root's. Raises DeviceRefused when it does not."""
    if "sudo" not in facts.tools:
        raise DeviceRefused(
            f"the shell on the console is user {facts.uid}'s, not root's, and there is no sudo",
            hint="Give the console login of root, or of a user that may use sudo.",
        )
    if dialogue.ask("sudo -n true 2>/dev/null&&echo may||echo asks", by=by) == "may":
        dialogue.order("exec sudo -n sh")
    elif password is None:
        raise DeviceRefused(
            f"the shell on the console is user {facts.uid}'s, and sudo wants a password",
            hint="Give the console login's password.",
        )
    else:
        dialogue.order("exec sudo -k -p 'trustbox'' asks: ' sh")
        dialogue.await_text(b"trustbox asks: ", by=by.sooner(10.0))
        dialogue.say_secret(password)
    dialogue.quiet(0.5, by=by.sooner(3.0))
    dialogue.unhide()
    if not dialogue.settle(by=by) or dialogue.ask("id -u", by=by) != "0":
        raise DeviceRefused(
            f"sudo does not make user {facts.uid} on the console root",
            hint=f"The console's last line is: {dialogue.last_line() or '(nothing)'}",
        )


def check_place(dialogue: Dialogue, layout: Layout, *, by: Deadline) -> None:
    """By a shell that is root's. Raises DeviceRefused where others may put a program of theirs in
    the helper's place."""
    why = why_unsafe(layout.agent_directory)
    found = dialogue.ask(f"{why};echo;", by=by) if why else ""
    if found:
        raise DeviceRefused(
            f"{found[:200]}, so root runs nothing from {layout.agent_directory} on the box",
            hint="Name a directory that only root can write to: layout.agent_directory.",
        )


def install(dialogue: Dialogue, layout: Layout, facts: Facts, *, by: Deadline) -> None:
    """Put the helper to its place. Raises DeviceRefused, Misuse and RigError (``agent_for``),
    Unreachable, DeadlineExpired, BoxDied."""
    binary = agent_for(facts.machine).read_bytes()
    packed = "gzip" in facts.tools
    sent = gzip.compress(binary, 9, mtime=0) if packed else binary
    place = helper_path(layout)
    path, whole = shlex.quote(place), shlex.quote(f"{place}.new")
    made = dialogue.ask(
        f"(umask 077;rm -f {whole};set -C;: >{whole}) 2>/dev/null&&echo made||echo no", by=by
    )
    if made != "made":
        raise DeviceRefused(f"no file can be made in {layout.agent_directory} on the box")
    if "base64" in facts.tools:
        text, unpack = base64.b64encode(sent).decode(), 'printf %s "$d"|base64 -d'
    else:
        text, unpack = "".join(f"\\{byte:03o}" for byte in sent), 'printf "$d"'
    if packed:
        unpack += "|gzip -dc"
    dialogue.pour(text, f"{unpack} >{whole} 2>/dev/null", unit=4, by=by)
    if "sha256sum" in facts.tools:
        digest, wanted = "sha256sum", f"{hashlib.sha256(binary).hexdigest()}-"
    else:
        digest, wanted = "cksum", "{}{}".format(*cksum(binary))
    done = f"chmod 700 {whole}&&mv -f {whole} {path}&&echo done"
    script = f"test -x {path}&&test ! -L {path}&&test -O {path}&&echo done||{{ "
    script += f"set -- $({digest} <{whole});if [ $1$2 = {wanted} ];then {done};else echo $1;fi; }}"
    found = dialogue.ask(script, by=by)
    if found != "done":
        raise Unreachable(
            f"the helper did not arrive whole on the box ({digest} says {found[:80]!r})",
            hint=f"Is there room in {layout.agent_directory}?",
        )
    log = logging.getLogger("harness.console")
    log.debug("the helper was put on the box over its console: %d bytes", len(sent))


def start_script(layout: Layout, nonce: int, *, log_out: bool) -> str:
    """What runs the helper in a listening shell, and leaves the tty as it should be.

    On its way out nothing interrupts the shell: the first frame of whoever comes next ends in ETX,
    which is Ctrl-C to a tty as it should be, and would leave the shell there, logged in.
    """
    words = (helper_path(layout), layout.tee_device, "--uart", f"{nonce:08x}")
    end = "exit" if log_out else "trap - INT;break"
    return f"{shlex.join(words)};trap '' INT;stty sane;{SAY_HELPER_ENDED};{end}"
