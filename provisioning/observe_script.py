"""One command that reads a box's normal world, and the strict reading of what it prints.

One, because starting a command is what costs. It changes nothing. Each line is a word and its
values; what is not there has no line. Passwords are compared on the box: no hash leaves it.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from harness.deadline import Deadline
from harness.shown import printable
from harness.target import Layout, Shell
from provisioning.observed import MOST, TA_NAME, DeviceNode

LONGEST_LINE = 400
_PROTOCOLS = ("tcp", "tcp6", "udp", "udp6")

# Few processes, as each takes milliseconds of a small processor. Known passwords: device-facts 1.3.
# $1 is the TA directory, $2 the TEE's device.
SCRIPT = r"""
cd -- "$1" 2>/dev/null && { echo ta-directory
  h='[0-9a-f][0-9a-f]' n=0 odd=0
  for f in *.ta; do
    [ -f "$f" ] || continue
    case $f in
      $h$h$h$h-$h$h-$h$h-$h$h-$h$h$h$h$h$h.ta)
        n=$((n + 1)); [ $n -le 1000 ] && set -- "$@" "$f"; continue ;;
      *[!A-Za-z0-9._-]*) f='(unprintable)' ;;
    esac
    odd=$((odd + 1)); [ $odd -le 5 ] && echo "odd-file $f"
  done
  echo "ta-count $n $odd"
  device=$2; shift 2
  [ $# -gt 0 ] && { echo head $(od -An -v -tx1 -N20 "$1"); sha256sum "$@"; }
  set -- "" "$device"; }
cd /
grep -sH . /sys/module/module/parameters/sig_enforce /proc/sys/kernel/tainted \
  /sys/kernel/security/lockdown /sys/kernel/security/ima/runtime_measurements_count /proc/mounts \
  /sys/block/dm-*/dm/uuid /sys/block/dm-*/dm/name
# The heading, and what listens: of connections there may be thousands.
grep -sHE '^ *sl | 0[A7] ' /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6
stat -c 'node %n %a %u %g %G' -- "$2" /dev/tee[0-9]* /dev/teepriv[0-9]* 2>/dev/null
same() { # user, its field in shadow, a password
  said=locked
  case $2 in
    \$[156]\$*)
      kind=${2#?}; kind=${kind%%\$*}; salt=${2#???}; salt=${salt%%\$*}
      case $salt in
        rounds=*) said=unknown ;;
        *) hash=$(printf %s "$3" | openssl passwd "-$kind" -salt "$salt" -stdin 2>/dev/null)
          case $hash in
            '') said=unknown ;; # no openssl here, or one that cannot do this kind
            "$2") said=default ;;
            *) said=other ;;
          esac ;;
      esac ;;
    "") said=empty ;;
    [!*]*) case $2 in !*) ;; *) said=unknown ;; esac ;;
  esac
  echo "password $1 $said"
}
accounts() { # also a last line without an end; x in passwd: the field is in shadow
  while IFS=: read -r user field rest || [ -n "$user" ]; do
    case $user:$field in
      *:x|\#*|:*) ;;
      *[!A-Za-z0-9._+-]*:) echo 'password (unprintable) empty' ;;
      root:*) same root "$field" root ;;
      admin:*) same admin "$field" trust ;;
      *:) echo "password $user empty" ;;
    esac
  done
}
[ -r /etc/passwd ] && accounts < /etc/passwd
[ -r /etc/shadow ] && { echo shadow; accounts < /etc/shadow; }
echo end
"""
_LISTENS = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})", re.ASCII)
_TA_LINE = re.compile(r"([0-9a-f]{64})  (\S+)", re.ASCII)
_FILE_LINE = re.compile(r"(/(?:sys|proc)/[A-Za-z0-9_./-]{1,100}):(.*)", re.ASCII)
_SIGNATURES = "/sys/module/module/parameters/sig_enforce"
_TAINTED = "/proc/sys/kernel/tainted"
_LOCKDOWN = "/sys/kernel/security/lockdown"
_IMA = "/sys/kernel/security/ima/runtime_measurements_count"
_NODE = re.compile(
    r"(/dev/[a-z0-9]{1,20}) ([0-7]{1,4}) ([0-9]{1,10}) ([0-9]{1,10}) (\S{1,32})", re.ASCII
)
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.ASCII)
_WORST_FIRST = ("default", "empty", "unknown", "other", "locked")
_MOST_LINES = 64 * MOST
_MOST_ODD = 5


def read_normal_world(
    shell: Shell, layout: Layout, *, by: Deadline
) -> tuple[dict[str, Any], int | None]:
    """Fields of ``Observed``, and the size of the signature of the TAs that are installed (bytes).

    Raises what the shell raises.
    """
    argv = ("sh", "-c", SCRIPT, "sh", layout.ta_directory, layout.tee_device)
    return read_lines(shell.run(*argv, by=by).stdout.decode("ascii", errors="replace"))


def read_lines(text: str) -> tuple[dict[str, Any], int | None]:
    """Pure. What has another form than the script's lines have is taken for absent; so are all
    lists when the script's last line is missing, as nobody knows what else is."""
    said: dict[str, list[str]] = defaultdict(list)
    tas: dict[str, str] = {}
    for line in (lines := text.splitlines()[:_MOST_LINES]):
        if found := _FILE_LINE.fullmatch(line := line[:LONGEST_LINE]):
            said[found[1]].append(found[2])
        elif found := _TA_LINE.fullmatch(line):
            tas[found[2]] = found[1]
        else:
            word, _, value = line.partition(" ")
            said[word].append(value)
    whole = bool(lines) and lines[-1] == "end"
    files, odd = _files(said, tas)
    ports = _ports(said) if whole else None
    fields = {
        "ta_files": files if whole else None,
        "odd_files": odd if whole else None,
        "module_signatures": _one(said, _SIGNATURES, r"([YN])"),
        "tainted": _number(_one(said, _TAINTED, r"([0-9]{1,10})")),
        "lockdown": _one(said, _LOCKDOWN, r".*\[(none|integrity|confidentiality)\].*"),
        "ima": _number(_one(said, _IMA, r"([0-9]{1,10})")),
        "verity": _verity(said),
        "ports": ports[:MOST] if ports is not None else None,
        "more_ports": max(0, len(ports) - MOST) if ports is not None else None,
        "tee_devices": (tuple(dict.fromkeys(_nodes(said)))[:MOST] or None) if whole else None,
        "passwords": _passwords(said) if whole else None,
    }
    head = _one(said, "head", r"((?:[0-9a-f]{2} ){19}[0-9a-f]{2})")
    size = int.from_bytes(bytes.fromhex(head)[18:20], "little") if head else 0
    return fields, size if size in (256, 384, 512) else None


def _one(said: Mapping[str, list[str]], word: str, form: str) -> str | None:
    values = said.get(word) or []
    found = re.fullmatch(form, values[0], re.ASCII) if len(values) == 1 else None
    return found[1] if found else None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _verity(said: Mapping[str, list[str]]) -> bool | None:
    """The root's device is the dm device itself, or its name below /dev/mapper."""
    mounts = [value.split(" ") for value in said.get("/proc/mounts", ())]
    roots = [mount[0] for mount in mounts if len(mount) > 1 and mount[1] == "/"]
    if not roots:
        return None
    on_verity = set()
    for path, values in said.items():
        found = re.fullmatch(r"/sys/block/(dm-[0-9]{1,4})/dm/uuid", path, re.ASCII)
        if found and values[0].startswith("CRYPT-VERITY-"):
            names = said.get(f"/sys/block/{found[1]}/dm/name", [])
            on_verity |= {f"/dev/{found[1]}", *(f"/dev/mapper/{name}" for name in names)}
    return roots[-1] in on_verity


def _files(
    said: Mapping[str, list[str]], tas: Mapping[str, str]
) -> tuple[dict[str, str] | None, tuple[str, ...] | None]:
    """The table of TA files, and what is in their directory and does not fit in it."""
    if not said.get("ta-directory"):
        return None, None
    named = {name: digest for name, digest in tas.items() if TA_NAME.fullmatch(name)}
    kept = dict(sorted(named.items())[:MOST])
    odd = [name for name in tas if name not in named]
    odd = [printable(name)[:60] for name in (*said.get("odd-file", ()), *odd)][:_MOST_ODD]
    counted = re.fullmatch(r"([0-9]{1,9}) ([0-9]{1,9})", (said.get("ta-count") or [""])[0])
    seen, strange = (int(counted[1]), int(counted[2])) if counted else (len(named), len(odd))
    if strange > len(odd):
        odd.append(f"{strange - len(odd)} more")
    if seen > len(kept):
        odd.append(f"{seen - len(kept)} files beyond the {len(kept)} that were read")
    return kept, tuple(odd)


def _ports(said: Mapping[str, list[str]]) -> tuple[str, ...] | None:
    tables = {p: said[f"/proc/net/{p}"] for p in _PROTOCOLS if f"/proc/net/{p}" in said}
    found = {port for name, lines in tables.items() for port in _listening(name, lines)}
    return tuple(sorted(found)) if tables else None


def _listening(protocol: str, lines: list[str]) -> Iterator[str]:
    """net/ipv4/tcp_ipv4.c, get_tcp4_sock: 0A is LISTEN; a UDP socket without a peer has 07."""
    state = "0A" if protocol.startswith("tcp") else "07"
    for line in lines:
        columns = line.split()
        found = _LISTENS.fullmatch(columns[1]) if len(columns) > 3 else None
        if found is None or columns[3] != state:
            continue
        # Addresses are printed as words of the (little-endian) processor.
        octets = bytes.fromhex(found[1])
        turned = b"".join(octets[at : at + 4][::-1] for at in range(0, len(octets), 4))
        yield f"{protocol}/{ipaddress.ip_address(turned)}/{int(found[2], 16)}"


def _nodes(said: Mapping[str, list[str]]) -> Iterator[DeviceNode]:
    for value in said.get("node", ()):
        if found := _NODE.fullmatch(value):
            yield DeviceNode(found[1], int(found[2], 8), int(found[3]), int(found[4]), found[5])


def _passwords(said: Mapping[str, list[str]]) -> dict[str, str] | None:
    """The worst of what was said of each. Without the shadow file what is wrong in passwd."""
    found: dict[str, str] = {}
    for value in said.get("password", ()):
        user, _, word = value.rpartition(" ")
        if not _USER.fullmatch(user):  # told all the same
            user = "_odd." + re.sub(r"[^a-z0-9_.-]", "_", user.lower())[:20]
        word = word if word in _WORST_FIRST else "unknown"
        if len(found) < MOST or user in found:
            found[user] = min(word, found.get(user, word), key=_WORST_FIRST.index)
    if said.get("shadow"):
        return found
    return {user: word for user, word in found.items() if word in ("default", "empty")} or None
