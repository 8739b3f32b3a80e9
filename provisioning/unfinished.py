"""What a run that did not come to its end began and did on a box: beside the record, until the next
record is written.

::

    record.json        what the last run that went through found; it holds its plan
    unfinished.json    steps of a later run: what each was about to change, and what it then found

It is on the disk before a step acts, and again when what the step did was read back. So whoever
compares the box with its record (``reprove``) can tell a run that was cut from a box that somebody
else changed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import BadInput
from provisioning.journal import now
from provisioning.plan import Plan
from provisioning.private_files import write_durably
from provisioning.record import Facts, as_document, load, read_document, value

FORMAT = "trustbox-unfinished-1"
FILE = "unfinished.json"
SUBJECTS: Mapping[str, str] = {
    "token": "token",
    "key": "key",
    "keys": "keys",
    "certificate": "certificate",
    "install": "certificate",
    "enclave": "enclave",
    "register": "enrollment",
    "iotedge": "iotedge",
}
"""What of a record each step changes."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """``begun``: steps that were about to act and did not live to say how that went; ``done``:
    those that did. ``facts``: what was known of their subjects, in a record's form, the newest.
    """

    run: str
    since: str
    """UTC, ISO 8601."""
    plan: str
    plan_beside: str
    begun: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    facts: Mapping[str, object] | None = None
    ended: str = ""
    """What stopped the run; empty when it did not live to say so."""
    exit_status: int = 0
    """That of what stopped it; 0 when nobody knows."""

    @property
    def told(self) -> str:
        """In one sentence, for people."""
        parts = [
            f"it was in the middle of {', '.join(self.begun)}" if self.begun else "",
            f"it changed {', '.join(self.done)}" if self.done else "",
            f"last: {self.ended}" if self.ended else "",
        ]
        said = "; ".join(part for part in parts if part)
        return f"the run of {self.since} did not come to its end ({said})"

    def touches(self, steps: tuple[str, ...]) -> bool:
        return any(step in steps for step in (*self.begun, *self.done))

    def is_amid(self, steps: tuple[str, ...]) -> bool:
        """Whether it may have left what these steps make neither as it was nor as it was to be."""
        return any(step in steps for step in self.begun)

    def over(self, record: Mapping[str, object] | None) -> dict[str, object]:
        """The record as this run would have it so far."""
        made = dict(record or {})
        for subject, of in (self.facts or {}).items():
            before = made.get(subject)
            if isinstance(of, dict):
                made[subject] = {**(before if isinstance(before, dict) else {}), **of}
        return made


def load_unfinished(directory: Path, record: Mapping[str, object] | None) -> Unfinished | None:
    """None when there is none, or the record is already that run's. Raises BadInput."""
    path = directory / FILE
    found = read_document(path, FORMAT, "what a run left here; move it away and provision again")
    if found is None:
        return None
    facts = found.get("facts")
    status = found.get("exit_status")
    left = Unfinished(
        run=_text(found, "run"),
        since=_text(found, "since"),
        plan=_text(found, "plan"),
        plan_beside=_text(found, "plan_beside"),
        begun=_words(found, "begun"),
        done=_words(found, "done"),
        facts=facts if isinstance(facts, dict) else {},
        ended=_text(found, "ended"),
        exit_status=status if isinstance(status, int) else 0,
    )
    if not left.run:
        raise BadInput(where=str(path), key="run", value=None, expected="the run's name")
    return None if value(record, "tool", "run") == left.run else left


class Changes:
    """Writes what a run changes. An earlier run's, that nobody finished, is taken over into it."""

    def __init__(self, directory: Path, left: Unfinished | None, *, run: str, plan: Plan) -> None:
        """``left``: of an earlier run, as ``load_unfinished`` has it."""
        self._path = directory / FILE
        self._left = replace(
            left or Unfinished(run, now(), "", ""),
            run=run,
            plan=plan.text.decode(),
            plan_beside=str(plan.beside.absolute()),
            ended="",
            exit_status=0,
        )
        self._written = left is not None

    def begins(self, step: str, facts: Facts) -> None:
        """On the disk when this returns: ``step`` is about to act."""
        begun = (*(name for name in self._left.begun if name != step), step)
        self._write(replace(self._left, begun=begun), facts)

    def did(self, step: str, facts: Facts) -> None:
        """What it did was read back."""
        self._write(self._settled(step), facts)

    def found(self, step: str, facts: Facts) -> None:
        """It is so already. That settles what an earlier run was in the middle of."""
        if step in self._left.begun:
            self._write(self._settled(step), facts)

    def stopped(self, said: str, exit_status: int) -> None:
        """What ended the run, where anything was begun at all."""
        if self._written:
            self._write(replace(self._left, ended=said, exit_status=exit_status), {})

    def _settled(self, step: str) -> Unfinished:
        begun = tuple(name for name in self._left.begun if name != step)
        others = tuple(name for name in self._left.done if name != step)
        return replace(self._left, begun=begun, done=(*others, step))

    def _write(self, left: Unfinished, facts: Facts) -> None:
        about = {SUBJECTS[step] for step in (*left.begun, *left.done) if step in SUBJECTS}
        fresh = {subject: of for subject, of in as_document(facts).items() if subject in about}
        left = self._left = replace(left, facts={**(left.facts or {}), **fresh})
        _save(self._path, left)
        self._written = True


def record_is_behind(directory: Path, doing: str, *steps: str) -> None:
    """On the disk when this returns: ``doing``, which is no run, is about to change what these
    steps of a run make. Does nothing where there is no record that could be behind.
    """
    record = load(directory / "record.json")
    if record is None:
        return
    left = load_unfinished(directory, record) or Unfinished(
        run=secrets.token_hex(8),
        since=now(),
        plan=str(value(record, "tool", "plan") or ""),
        plan_beside=str(value(record, "tool", "plan_beside") or ""),
    )
    begun = (*(name for name in left.begun if name not in steps), *steps)
    _save(directory / FILE, replace(left, begun=begun, ended=doing, exit_status=0))


def forget_unfinished(directory: Path) -> None:
    """The record has it all."""
    (directory / FILE).unlink(missing_ok=True)


def _save(path: Path, left: Unfinished) -> None:
    document = {
        "format": FORMAT,
        "run": left.run,
        "since": left.since,
        "begun": list(left.begun),
        "done": list(left.done),
        "ended": left.ended,
        "exit_status": left.exit_status,
        "plan_beside": left.plan_beside,
        "plan": left.plan,
        "facts": left.facts,
    }
    write_durably(path, json.dumps(document, indent=2).encode() + b"\n", mode=0o644)


def _text(found: Mapping[str, object], key: str) -> str:
    text = found.get(key)
    return text if isinstance(text, str) else ""


def _words(found: Mapping[str, object], key: str) -> tuple[str, ...]:
    words = found.get(key)
    return tuple(str(word) for word in words) if isinstance(words, list) else ()
