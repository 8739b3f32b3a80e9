"""Which box is it? Asked of the box before anything else is done to it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from harness.target import Shell

LONGEST = 64
_READ = 'for path; do test -r "$path" && { printf "%s\\n" "$path"; head -c 256 -- "$path" | tr "\\000\\n" "  "; echo; }; done; exit 0'  # noqa: E501


def reported(shell: Shell, paths: Sequence[str], *, by: Deadline) -> dict[str, str]:
    """The serial number in each of ``paths`` on the box that can be read; changes nothing.

    What is empty, too long or not printable ASCII does not count as one. Raises as ``Shell.run``.
    """
    done = shell.run("sh", "-c", _READ, "serial", *paths, by=by)
    lines = iter(done.stdout.split(b"\n"))
    found: dict[str, str] = {}
    for path in lines:
        text = next(lines, b"").strip()
        known = path.decode(errors="replace") in paths
        if known and 0 < len(text) <= LONGEST and all(32 < octet < 127 for octet in text):
            found[path.decode()] = text.decode("ascii")
    return found


def confirm(name: str, serial: str, told: dict[str, str], paths: Sequence[str]) -> None:
    """Raises IntegrityFailure, naming both, when the box tells another serial number or none."""
    for path, said in told.items():
        if said != serial:
            raise IntegrityFailure(
                f"the box at {name} reports serial number {said} ({path}), not {serial}",
                hint="Nothing was done to it. Compare the label on the box, the --serial that was"
                " given and the cabling of this bench.",
            )
    if not told:
        raise IntegrityFailure(
            f"the box at {name} reports no serial number, so it cannot be told to be {serial}",
            hint=f"Nothing was done to it. Looked at: {', '.join(paths)}. Write the number of the"
            f" label into {paths[0]} on the box, or name another place with serial_paths.",
        )


def wanted(name: str, given: str | None, label: str | None) -> str:
    """The serial number that a person named for this bench. Raises Misuse when there is none, or
    when the entry's own ``serial`` is another one; nothing was touched then."""
    if not given:
        raise Misuse(
            f"{name} is a bench: say which box must be there, with --serial",
            hint="It is the number on the box's label; the box must report the same one."
            + (f" The entry says {label}." if label else ""),
        )
    if label is not None and label != given:
        raise Misuse(
            f"{name} has {label} in its targets entry, but --serial says {given}",
            hint="One of the two is about another box. Nothing was done.",
        )
    return given


def permitted(name: str, serial: str, lasting: str | None) -> None:
    """Raises Misuse when ``--lasting`` names another box than the one that is open."""
    if lasting is not None and lasting != serial:
        raise Misuse(
            f"--lasting {lasting} permits nothing on {name}, which is {serial}",
            hint="Lasting steps are permitted for the one box whose serial number is repeated.",
        )
