"""Who answers the TEE's requests on the box, and where the TEE's storage lies: asked of the box.

OP-TEE has no disk. What it loads and what it keeps comes through tee-supplicant, a program of the
normal world (optee_client): without one, or with one that is stopped, every such call waits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from harness.storage_place import StoragePlace, place_of
from harness.target import Layout, Shell

# Prints "supplicant <pid> <state>" for each; the state is the letter of proc_pid_stat(5). One that
# has another name is found by the device that it holds, which costs more and is tried last.
SUPPLICANTS = """
supplicants() {
  for device in /dev/teepriv[0-9]*; do [ -c "$device" ] && echo teepriv && break; done
  pids=$(grep -lsxF tee-supplicant /proc/[0-9]*/comm)
  [ -n "$pids" ] || pids=$(ls -l /proc/[0-9]*/fd 2>/dev/null | while read -r a b rest; do
    case $a in /proc/*) of=$a ;; esac
    case "$b $rest" in *'-> /dev/teepriv'*) echo "$of" ;; esac
  done)
  for pid in $pids; do
    pid=${pid#/proc/} pid=${pid%%/*}
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
    stat=${stat##*) }
    echo "supplicant $pid ${stat%% *}"
  done
}
"""

# $1 is where the layout says that the storage is. The program's own default cannot be asked, but
# stands in its file as a string.
_STORAGE = """
supplicants | while read -r word pid state; do
  echo $word $pid $state
  [ "$word" = supplicant ] || continue
  root= next=
  while IFS= read -r given; do
    [ -z "$next" ] || { root=$given next=; continue; }
    case $given in
      --fs*=*) root=${given#*=} ;;
      --fs*|-f|-df) next=1 ;;
      -f*) root=${given#-f} ;;
      -df*) root=${given#-df} ;;
    esac
  done <<END
$(tr '\\0' '\\n' <"/proc/$pid/cmdline")
END
  if [ -n "$root" ]; then
    echo told
  else
    root=$1
    grep -qsaF -- "$1" "/proc/$pid/exe" && echo told
  fi
  real=$(readlink -f -- "$root") && echo "root $real"
  sed 's/^/mount /' "/proc/$pid/mountinfo"
  break
done
grep -sH . /sys/block/loop*/loop/backing_file
exit 0
"""
_SUPPLICANT = re.compile(r"supplicant ([0-9]{1,10}) ([A-Za-z])", re.ASCII)
_LOOP = re.compile(r"/sys/block/(loop[0-9]{1,4})/loop/backing_file:(/.*)", re.ASCII)
_STOPPED = "Tt"
_DEAD = "ZXx"
HINT = (
    "Nothing else was tried. Start it: systemctl start tee-supplicant, or what your image has for"
    " it; journalctl -u tee-supplicant says why it ended. trustbox shell gets you onto the box."
)


class NoSupplicant(DeviceRefused):
    """Nothing on the box answers what the TEE asks for: its storage and its TAs are out of reach,
    and nothing is known of them."""


@dataclass(frozen=True, slots=True)
class Supplicants:
    """States of the processes that may answer the TEE; ``device``: whether there is one for them.

    Letters are those of proc_pid_stat(5): T is stopped, Z dead.
    """

    states: tuple[str, ...]
    device: bool

    def trouble(self) -> NoSupplicant | None:
        """Why nothing answers the TEE's requests; None where something may."""
        living = [state for state in self.states if state not in _DEAD]
        if not living:
            return NoSupplicant(
                "nothing answers the TEE's requests on the box: no tee-supplicant runs", hint=HINT
            )
        if all(state in _STOPPED for state in living):
            return NoSupplicant(
                "nothing answers the TEE's requests on the box: its tee-supplicant is stopped",
                hint="Nothing else was tried. Somebody stopped it (SIGSTOP): kill -CONT its"
                " process, or restart its service.",
            )
        return None


@dataclass(frozen=True, slots=True)
class StorageSeen:
    """The supplicants, and where the storage of the first one lies; None: not known."""

    supplicants: Supplicants
    place: StoragePlace


def demand_lasting(place: StoragePlace) -> None:
    """Raises IntegrityFailure for a storage that is gone at the next boot."""
    if place.lasts is False:
        raise IntegrityFailure(
            f"the TEE's storage does not last: {place.path}: {place.why}; what its token keeps is"
            " gone at the next boot",
            hint="Mount a disk there (findmnt --target shows what is mounted), or start"
            " tee-supplicant with another --fs-parent-path. Nothing was made in the token.",
        )


def read_supplicants(text: str) -> Supplicants:
    """Pure: what ``supplicants`` printed; other lines are others' business."""
    lines = text.splitlines()
    found = [match for line in lines if (match := _SUPPLICANT.fullmatch(line))]
    return Supplicants(tuple(match[2] for match in found), "teepriv" in lines)


def storage_seen(shell: Shell, layout: Layout, *, by: Deadline) -> StorageSeen:
    """Ask the box. Changes nothing. Raises what the shell raises."""
    script = SUPPLICANTS + _STORAGE
    done = shell.run("sh", "-c", script, "sh", layout.storage_root, by=by)
    return read_storage(done.stdout.decode("utf-8", errors="replace"), layout.storage_root)


def read_storage(text: str, configured: str) -> StorageSeen:
    """Pure. ``configured`` is the layout's storage root."""
    found = read_supplicants(text)
    if not found.states:
        return StorageSeen(found, StoragePlace(configured, None, "no tee-supplicant runs"))
    lines = text.splitlines()
    roots = [line.removeprefix("root ") for line in lines if line.startswith("root /")]
    mounts = [line.removeprefix("mount ") for line in lines if line.startswith("mount ")]
    loops = {match[1]: match[2] for line in lines if (match := _LOOP.fullmatch(line))}
    if not roots or "told" not in lines:
        why = (
            "neither the command line of tee-supplicant nor the program itself names"
            f" {configured}: layout.storage_root may be another place than the TEE's"
            if roots
            else f"{configured} cannot be found on the box"
        )
        return StorageSeen(found, StoragePlace(configured, None, why))
    return StorageSeen(found, place_of(roots[0], mounts, loops))
