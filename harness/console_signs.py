"""What a console's text says about the box, as far as a shell over that console must know. Pure."""

from __future__ import annotations

import re

RESTARTED = re.compile(
    rb"(?:^|[\r\n])[^\r\n]*?(?:"
    # Linux kernel/reboot.c, arch/arm64/kernel/setup.c, init/main.c
    rb"reboot: (?:Restarting system|Power down|System halted)|Booting Linux on physical CPU"
    # TF-A bl1_main.c, bl31_main.c; PPA (device-facts 1.4)
    rb"|NOTICE: +BL(?:1|2|31): |PPA Firmware: Version"
    # U-Boot common/board_f.c, boot/bootm_os.c, common/autoboot.c
    rb"|U-Boot (?:SPL |TPL )?20\d\d\.\d\d|Starting kernel \.\.\.|Hit any key to stop autoboot"
    # OP-TEE core/arch/arm/kernel/boot.c
    rb"|I/TC: OP-TEE version: "
    rb")[^\r\n]*"
)
"""A line that only a box prints that begins anew, or ends."""

LOGIN = re.compile(rb"(?:^|[\r\n])[^\r\n]*?(?<!ast )(?<!failed )\b[Ll]ogin: ?")
"""A getty's prompt; ``Last login: Mon ...`` is not one."""

HELPER_ENDED = b"trustbox-helper ended"
SAY_HELPER_ENDED = "echo 'trustbox''-helper ended'"

PROMPT = re.compile(
    rb"(?:^|[\r\n])[^\r\n]{0,160}?[#$%](?:\x1b\[[0-9;?]*[a-zA-Z])* ?(?:\x1b\[[0-9;?]*[a-zA-Z])*"
    rb"(?=\Z|\[ *\d+\.\d+\]|[DIEFW]/T[AC]:)"
)
"""A shell's prompt at the end of what was said, or hidden by a log line that follows it."""

UBOOT_PROMPT = re.compile(rb"(?:^|[\r\n])(?:=>|U-Boot>) ?\Z")
PASSWORD = re.compile(rb"(?<!UNIX )(?<!urrent )(?<!ew )(?<!UNIX\) )\b[Pp]assword: ?")
OLD_PASSWORD = re.compile(rb"[Cc]urrent (?:UNIX )?password: ?|\(current\) UNIX password: ?")
NEW_PASSWORD = re.compile(
    rb"(?:Enter|Retype|Re-enter|Repeat)? ?(?:the )?[Nn]ew (?:UNIX )?password(?: again)?: ?"
)
REFUSED_LOGIN = re.compile(
    rb"Login incorrect|[Ii]ncorrect (?:login|password)|Authentication failure|Maximum number of"
    rb"|Login timed out|Permission denied|System is going down|Account locked"
)
REFUSED_CHANGE = re.compile(
    rb"BAD PASSWORD[^\r\n]*|[Pp]assword (?:unchanged|not changed|is too)[^\r\n]*"
    rb"|Authentication token manipulation error|[Yy]ou must choose a longer password"
    rb"|passwords do not match"
)


def last_line(text: bytes) -> str:
    """The last line that says something, for error messages; at most 200 characters."""
    for line in reversed(text.split(b"\n")):
        shown = "".join(c for c in line.decode(errors="replace") if c.isprintable()).strip()
        if shown:
            return shown[:200]
    return ""
