"""What Azure's Device Provisioning Service answers a device, parsed strictly. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from harness.errors import BadFrame, IntegrityFailure, Misuse
from provisioning.est_wire import plain_text
from provisioning.http_client import Answer

FINAL = frozenset({"assigned", "failed", "disabled", "unassigned"})
STATUSES = FINAL | {"assigning"}
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_REGISTRATION_ID = re.compile(r"[a-z0-9]([a-z0-9._:-]{0,126}[a-z0-9])?")
_ID_SCOPE = re.compile(r"[0-9A-Za-z]{1,64}")


def checked_registration_id(text: str) -> str:
    """In lower case, as the service compares it. Raises Misuse for what it would not take."""
    if not text.isascii() or not _REGISTRATION_ID.fullmatch(text.lower()):
        raise Misuse(
            f"{text[:140]!r} is no registration id",
            hint="1 to 128 letters, digits and . _ - : with a letter or digit at both ends.",
        )
    return text.lower()


def checked_id_scope(text: str) -> str:
    if not _ID_SCOPE.fullmatch(text):
        raise Misuse(f"{text[:80]!r} is no ID scope (letters and digits, such as 0ne00000000)")
    return text


@dataclass(frozen=True, slots=True)
class Assigned:
    """Where a device was assigned to, and what the service says about how."""

    registration_id: str
    hub: str
    device_id: str
    substatus: str = ""
    etag: str = ""
    group: str = ""
    """The enrollment group that let it in; "" for an individual enrollment."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One answer to register, poll or look-up; ``status`` is one of ``STATUSES``."""

    operation: str
    status: str
    state: Mapping[str, object]

    @property
    def failure(self) -> tuple[str, str]:
        """Error code and message of a failed registration, as far as given."""
        code = self.state.get("errorCode")
        said = self.state.get("errorMessage")
        return (str(code) if isinstance(code, int) else "", said if isinstance(said, str) else "")


def parse_progress(answer: Answer) -> Progress:
    """Raises BadFrame for anything but what the service documents."""
    found = parse_object(answer)
    operation, status = found.get("operationId", ""), found.get("status", "assigning")
    state = found.get("registrationState") or {}
    if not isinstance(operation, str) or len(operation) > 500 or not isinstance(state, dict):
        _bad("its operation or state has another form")
    if status not in STATUSES:
        _bad(f"the status {str(status)[:40]!r} is unknown")
    return Progress(operation, str(status), state)


def parse_state(answer: Answer) -> Progress:
    """The answer to a look-up, which is a registration state by itself."""
    state = parse_object(answer)
    status = state.get("status", "unassigned")
    if status not in STATUSES:
        _bad(f"the status {str(status)[:40]!r} is unknown")
    return Progress("", str(status), state)


def parse_assigned(progress: Progress, registration_id: str) -> Assigned:
    """Raises BadFrame for a hub or device that is none, IntegrityFailure for another device's."""
    check_whose(progress, registration_id)
    state = progress.state
    hub, device = state.get("assignedHub"), state.get("deviceId")
    if not isinstance(hub, str) or not _HOST.fullmatch(hub.lower()) or len(hub) > 253:
        _bad(f"the assigned hub {str(hub)[:60]!r} is no host name")
    if not isinstance(device, str) or not 1 <= len(device) <= 128 or not device.isprintable():
        _bad("the assigned device id has another form")
    x509 = state.get("x509")
    group = x509.get("enrollmentGroupId") if isinstance(x509, dict) else None
    return Assigned(
        registration_id=registration_id,
        hub=hub.lower(),
        device_id=device,
        substatus=_text(state, "substatus"),
        etag=_text(state, "etag"),
        group=group if isinstance(group, str) else "",
    )


def check_whose(progress: Progress, registration_id: str) -> None:
    """Raises IntegrityFailure when the answer is about another device: a mix-up in the service."""
    whose = progress.state.get("registrationId", registration_id)
    if not isinstance(whose, str) or whose.lower() != registration_id:
        raise IntegrityFailure(
            f"the provisioning service answered about {str(whose)[:140]!r},"
            f" asked about {registration_id!r}"
        )


def parse_object(answer: Answer) -> dict[str, object]:
    """A JSON object as the service sends it: no repeated key, no NaN, said to be JSON."""
    if answer.media_type != "application/json":
        shown = plain_text(answer.media_type.encode()) or "nothing"
        _bad(f"it is said to be {shown}")
    try:
        found = json.loads(answer.body, object_pairs_hook=_once, parse_constant=_constant)
    except (ValueError, RecursionError):
        _bad("it is not JSON")
    if not isinstance(found, dict):
        _bad("it is no JSON object")
    return found


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer's own words: ``code`` such as 401002, as far as given."""

    code: str
    message: str
    tracking_id: str

    @classmethod
    def of(cls, answer: Answer) -> Refusal:
        """Never raises: what a failing service says may be of any form."""
        try:
            found = parse_object(answer)
        except BadFrame:
            found = {}
        code = found.get("errorCode", answer.header("x-ms-error-code"))
        tracked = _text(found, "trackingId") or answer.header("x-ms-request-id")
        said = plain_text(_text(found, "message").encode()) or plain_text(answer.body)
        return cls(
            plain_text(str(code).encode())[:20], said or "no reason given",
            plain_text(tracked.encode())[:80],
        )  # fmt: skip


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) and len(value) <= 1000 else ""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bad(why: str) -> NoReturn:
    raise BadFrame(f"the provisioning service's answer cannot be read: {why}")
