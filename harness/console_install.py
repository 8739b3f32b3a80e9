"""The helper onto a box over nothing but a shell on its console: in checked pieces, once a boot."""

from __future__ import annotations

import base64
import gzip
import hashlib
import logging
import shlex
from dataclasses import dataclass

from harness.agent_build import agent_for, agent_name
from harness.console_cksum import cksum
from harness.console_dialogue import Dialogue
from harness.console_signs import SAY_HELPER_ENDED
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Unreachable
from harness.secret import Secret
from harness.target import Layout

FIRST_PIECE, LEAST_PIECE = 372, 93
"""Bytes a line; 372 make 496 characters of base64. busybox ash takes lines of 1024."""
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
    script = f"echo $(id -u;uname -m;test -x {path}&&echo there||echo absent;{tools})"
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


def install(dialogue: Dialogue, layout: Layout, facts: Facts, *, by: Deadline) -> None:
    """Put the helper to its place. Raises DeviceRefused, Misuse and RigError (``agent_for``),
    Unreachable, DeadlineExpired, BoxDied."""
    binary = agent_for(facts.machine).read_bytes()
    packed = "gzip" in facts.tools
    sent = gzip.compress(binary, 9, mtime=0) if packed else binary
    place = helper_path(layout)
    path, part, whole = (shlex.quote(p) for p in (place, f"{place}.part", f"{place}.new"))
    made = dialogue.ask(f"(umask 077;: >{part}) 2>/dev/null&&echo made||echo no", by=by)
    if made != "made":
        raise DeviceRefused(f"no file can be made in {layout.agent_directory} on the box")
    _send_pieces(dialogue, sent, part, "base64" in facts.tools, by)
    unpack = f"gzip -dc <{part} >{whole}" if packed else f"cat <{part} >{whole}"
    if "sha256sum" in facts.tools:
        digest, wanted = "sha256sum", hashlib.sha256(binary).hexdigest()
    else:
        digest, wanted = "cksum", "{}{}".format(*cksum(binary))
    script = f"(umask 077;{unpack}) 2>/dev/null;set -- $({digest} <{whole});echo $1${{2#-}}"
    found = dialogue.ask(script, by=by)
    if found != wanted:
        raise DeviceRefused(
            f"the helper did not arrive whole on the box ({digest} says {found[:80]!r})",
            hint=f"Is there room in {layout.agent_directory}?",
        )
    done = dialogue.ask(
        f"test -x {path}||{{ chmod 700 {whole}&&mv -f {whole} {path}; }};rm -f {part};"
        f"test -x {path}&&echo done",
        by=by,
    )
    if done != "done":
        raise DeviceRefused(f"the helper cannot be made executable in {layout.agent_directory}")
    log = logging.getLogger("harness.console")
    log.debug("the helper was put on the box over its console: %d bytes", len(sent))


def start_script(layout: Layout, nonce: int, *, log_out: bool) -> str:
    """What runs the helper in a listening shell, and leaves the tty as it should be."""
    words = (helper_path(layout), layout.tee_device, "--uart", f"{nonce:08x}")
    end = "exit" if log_out else "break"
    return f"{shlex.join(words)};stty sane;{SAY_HELPER_ENDED};{end}"


def _send_pieces(
    dialogue: Dialogue, data: bytes, part: str, with_base64: bool, by: Deadline
) -> None:
    size, position = FIRST_PIECE, 0
    while position < len(data):
        piece = data[position : position + size]
        if with_base64:
            put = f"printf %s {base64.b64encode(piece).decode()}|base64 -d >>{part}"
        else:
            octal = "".join(f"\\{byte:03o}" for byte in piece[: size // 3])
            piece = piece[: size // 3]
            put = f"printf '{octal}' >>{part}"
        script = f"[ $(wc -c <{part}) = {position} ]&&{put};echo $(wc -c <{part})"
        try:
            has = dialogue.ask(script, by=by, times=3)
        except Unreachable:
            if size <= LEAST_PIECE:
                raise
            size //= 2
            continue
        if not has.isdigit() or int(has) not in (position, position + len(piece)):
            raise DeviceRefused(
                f"a file on the box has {has[:20]} bytes instead of {position + len(piece)}",
                hint="Is there room, and nobody else at work there?",
            )
        position = int(has)
