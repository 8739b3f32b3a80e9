"""The box's disk: Debian packages unpacked, our init and settings laid over, made into ext4."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from emulator import xtest_tas
from emulator.flags import CROSS
from emulator.packages import Binary, unpack
from emulator.profiles import Profile
from emulator.running import Tools

OURS = Path(__file__).parent / "init"
SIZE_MIB = 512
# Small enough that a test can fill the disk; documentation is what a box does not need.
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
          "usr/share/lintian", "usr/share/bash-completion", "usr/lib/udev/hwdb.d",
          "usr/lib/systemd", "usr/share/perl5/debconf")  # fmt: skip
MERGED = ("bin", "sbin", "lib")
# Commands of a usual box that come from busybox here, where no package brings the real one.
BUSYBOX = (
    "awk", "clear", "dmesg", "free", "getty", "hexdump", "hostname", "hwclock", "ifconfig",
    "insmod", "ip", "killall", "less", "logger", "login", "lsmod", "mount", "nc", "netstat",
    "passwd", "pidof", "ping", "ps", "rmmod", "route", "sh", "strings", "su", "sysctl", "top",
    "traceroute", "umount", "unzip", "vi", "wget", "which", "xxd", "xz",
)  # fmt: skip
BUSYBOX_SYSTEM = ("halt", "init", "poweroff", "reboot")

_SSHD_ACCOUNT = "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
_SHADOW = "root:{password}:20000:0:99999:7:::\nsshd:*:20000:0:99999:7:::\n"
_FILES = {
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/hostname": "trustbox\n",
    "etc/fstab": "/dev/vda / ext4 rw,noatime 0 1\n",
    "etc/shells": "/bin/sh\n/bin/bash\n/bin/dash\n",
    "etc/issue": "TrustBox (emulated) \\l\n\n",
    "etc/motd": "",
}


def build_tree(
    binaries: Iterable[Binary], optee: Path, profile: Profile, root: Path, tools: Tools
) -> None:
    """Fill the directory ``root`` with everything the disk holds; ``optee`` has TAs and their key.

    No maintainer script runs, so what those would have made is made here, by hand.
    """
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for binary in binaries:
        unpack(binary, root, tools)
    _accounts(root, profile)
    _busybox(root)
    _ours(root, profile, tools)
    armtz = root / "usr/lib/optee_armtz"
    armtz.mkdir(parents=True, exist_ok=True)
    xtest_tas.set_apart(root, optee / "devkit", optee / "ta_key.pem", tools)
    for ta in (optee / "tas").glob("*.ta"):
        shutil.copy(ta, armtz)
    (root / "var/lib/optee-client/data/tee").mkdir(parents=True, exist_ok=True)


def prune(root: Path) -> None:
    """Remove what only people at a desk read."""
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)


def make_disk(root: Path, disk: Path, tools: Tools) -> None:
    """The directory ``root`` as a sparse ext4 image; everything in it belongs to root."""
    disk.unlink(missing_ok=True)
    # fakeroot shows files of the user who builds as root's; mke2fs copies what it is shown.
    tools.run(
        "root disk",
        "fakeroot", "--", _mke2fs(), "-q", "-t", "ext4", "-L", "trustbox", "-m", "0",
        "-O", "^metadata_csum_seed,^orphan_file", "-d", root, disk, f"{SIZE_MIB}M",
    )  # fmt: skip


def _mke2fs() -> str:
    # A plain user's PATH lacks the sbin directories.
    return shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "mke2fs"


def _accounts(root: Path, profile: Profile) -> None:
    masters = root / "usr/share/base-passwd"
    etc = root / "etc"
    passwd = (masters / "passwd.master").read_text().replace("root:*:", "root:x:")
    # sshd starts each command by root's shell: dash, which is there in half the time of bash.
    passwd = passwd.replace(":*:", ":x:").replace(":/root:/bin/bash", ":/root:/bin/sh")
    (etc / "passwd").write_text(passwd + _SSHD_ACCOUNT)
    (etc / "group").write_text((masters / "group.master").read_text().replace(":*:", ":x:"))
    for name, text in _FILES.items():
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(text)
    (etc / "shadow").write_text(_SHADOW.format(password=profile.root_shadow))
    (etc / "shadow").chmod(0o640)
    for file in ("profile", "skel"):
        source = root / "usr/share/base-files" / file
        if source.is_file():
            shutil.copy(source, etc)
    for name, mode in (("root", 0o700), ("tmp", 0o1777), ("run", 0o755), ("etc/trustbox", 0o755)):
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    for name in ("proc", "sys", "dev", "mnt", "var/log", "var/tmp", "var/lib", "var/empty"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _busybox(root: Path) -> None:
    for directory, names in (("bin", BUSYBOX), ("sbin", BUSYBOX_SYSTEM)):
        for name in names:
            link = root / "usr" / directory / name
            taken = [root / "usr" / place / name for place in ("bin", "sbin")]
            if not any(path.exists() or path.is_symlink() for path in taken):
                link.symlink_to("/usr/bin/busybox")


def _ours(root: Path, profile: Profile, tools: Tools) -> None:
    for overlay in (OURS / name for name in profile.overlays):
        for file in sorted(overlay.rglob("*")):
            if file.is_file():
                place = root / file.relative_to(overlay)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                place.chmod(0o755 if file.parent.name == "trustbox" else 0o644)
    wakeup = root / "usr/lib/trustbox/wakeup"
    tools.run(
        "wakeup daemon",
        f"{CROSS}gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", wakeup,
        OURS / "wakeup.c",
    )  # fmt: skip
