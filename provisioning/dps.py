"""Azure's Device Provisioning Service, the device's side: registration over HTTPS with X.509.

The TLS client certificate is the whole authentication; who makes the handshake is the Connector's
choice (a key in a file, or in a token here or on the box). Facts: provisioning-facts 2a.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from urllib.parse import quote

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, LinkLost, TrustBoxError
from provisioning.dps_answers import (
    FINAL,
    Assigned,
    Progress,
    Refusal,
    check_whose,
    checked_id_scope,
    checked_registration_id,
    parse_assigned,
    parse_progress,
    parse_state,
)
from provisioning.http_client import Answer, Http
from provisioning.http_connection import Connector
from provisioning.http_errors import ServiceBusy, ServiceRefused
from provisioning.http_waiting import backoff, pause, retry_after

GLOBAL_ENDPOINT = "https://global.azure-devices-provisioning.net"
API_VERSION = "2021-06-01"
_POLL_SECONDS = 2.0
_MOST_CONFLICTS = 5

_HINTS = {
    "401002": "The service does not take the certificate: is its issuer the enrollment's CA, is"
    " every intermediate sent along, and is the leaf's common name the registration id?",
}


class DpsDevice:
    """One device at one service. Methods raise Unreachable, UntrustedServer, DeadlineExpired,
    BadFrame, ServiceRefused (no; with the service's code), ServiceBusy (not now),
    IntegrityFailure (an answer about another device).
    """

    def __init__(
        self,
        id_scope: str,
        registration_id: str,
        connector: Connector,
        *,
        endpoint: str = GLOBAL_ENDPOINT,
        api_version: str = API_VERSION,
        trouble: Callable[[], TrustBoxError | None] = lambda: None,
    ) -> None:
        """``trouble`` says what is wrong with a service of this very process that was busy: there
        is nothing to wait for then, and it is raised.
        """
        self.trouble = trouble
        self.registration_id = checked_registration_id(registration_id)
        self._http = Http(endpoint, connector)
        scope = checked_id_scope(id_scope)
        self._path = f"/{scope}/registrations/{quote(self.registration_id, safe='')}"
        self._version = f"?api-version={quote(api_version, safe='')}"

    def close(self) -> None:
        """End its connection. Safe to call twice, and to go on after."""
        self._http.close()

    def __enter__(self) -> DpsDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(
        self,
        *,
        by: Deadline,
        operation: str = "",
        payload: Mapping[str, object] | None = None,
        started: Callable[[str], None] = lambda operation: None,
    ) -> Assigned:
        """Register and wait until the service has assigned the device to a hub.

        Registering again is safe and gives the same. ``started`` is told the operation's id as soon
        as there is one; given back as ``operation``, it is only polled. While the service is busy
        (429, 5xx) or the link breaks it is asked again, later each time, until the deadline.
        """
        return _Registration(self, payload, started, operation).run(by)

    def look_up(self, *, by: Deadline) -> Progress | None:
        """What the service knows of this device's registration; None when it knows of none.

        Waits as ``register`` does while the service is busy or the link breaks.
        """
        doing, failures = "looking the registration up", 0
        while True:
            failures += 1
            try:
                answer = self.ask("POST", "", {}, by)
            except LinkLost as problem:
                if backoff(failures) >= by.left(doing):
                    raise problem
                pause(backoff(failures), doing, by=by)
                continue
            if answer.status == 404:
                return None
            if answer.status == 200:
                found = parse_state(answer)
                check_whose(found, self.registration_id)
                return found
            if not is_busy(answer):
                raise refusal(doing, answer)
            self.wait_for_it(answer, doing, failures, by)

    def wait_for_it(self, answer: Answer, doing: str, failures: int, by: Deadline) -> None:
        """As long as a busy service asks. Raises ServiceBusy when that is beyond the deadline."""
        if (wrong := self.trouble()) is not None:
            raise wrong
        asked = retry_after(answer.header("retry-after"))
        wait = backoff(failures) if asked is None else asked
        if wait >= by.left(doing):
            raise ServiceBusy(doing, answer.status, asked)
        pause(wait, doing, by=by)

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None, by: Deadline
    ) -> Answer:
        """One request below this registration. For this module's own use."""
        return self._http.request(
            method,
            f"{self._path}{path}{self._version}",
            by=by,
            headers={"content-type": "application/json", "accept": "application/json"},
            body=b"" if body is None else json.dumps(body).encode(),
        )


class _Registration:
    """One registration on its way: what was learned from each answer decides the next request."""

    def __init__(
        self,
        device: DpsDevice,
        payload: Mapping[str, object] | None,
        started: Callable[[str], None],
        operation: str,
    ) -> None:
        self._device, self._payload, self._started = device, payload, started
        self._operation = operation
        self._polls = self._failures = self._conflicts = 0
        self._restarted = self._assigning = False

    @property
    def _doing(self) -> str:
        return f"registering {self._device.registration_id}"

    def run(self, by: Deadline) -> Assigned:
        while True:
            try:
                done = self._judge(self._ask(by), by)
            except LinkLost as problem:
                self._failures += 1
                wait = backoff(self._failures)
                if wait >= by.left(self._waiting()):
                    raise problem
                pause(wait, self._waiting(), by=by)
                continue
            if done is not None:
                return done

    def _ask(self, by: Deadline) -> Answer:
        if self._operation:
            path = f"/operations/{quote(self._operation, safe='')}"
            try:
                answer = self._device.ask("GET", path, None, by)
            except DeadlineExpired as late:  # whoever gave up is told of the operation all the same
                raise DeadlineExpired(self._waiting(), by.seconds) from late
            self._polls += 1
            return answer
        body: dict[str, object] = {"registrationId": self._device.registration_id}
        if self._payload is not None:
            body["payload"] = dict(self._payload)
        return self._device.ask("PUT", "/register", body, by)

    def _judge(self, answer: Answer, by: Deadline) -> Assigned | None:
        """The end, or None after the wait that the answer asks for."""
        asked = retry_after(answer.header("retry-after"))
        if answer.status in (200, 202):
            return self._go_on(parse_progress(answer), asked, by)
        if is_busy(answer):
            self._failures += 1
            self._device.wait_for_it(answer, self._doing, self._failures, by)
            return None
        if answer.status == 412 and not self._operation:
            return self._conflict(answer, asked, by)
        if answer.status == 404 and self._operation and not self._restarted:
            # Operations are forgotten after a while: what they led to is not.
            self._restarted, self._operation = True, ""
            return self._known(by)
        raise refusal(self._doing, answer)

    def _go_on(self, progress: Progress, asked: float | None, by: Deadline) -> Assigned | None:
        device = self._device.registration_id
        if progress.status == "assigned":
            return parse_assigned(progress, device)
        check_whose(progress, device)
        if progress.status in FINAL:
            raise _final(self._doing, progress)
        if not (progress.operation or self._operation):
            raise BadFrame("the provisioning service is assigning but names no operation")
        if self._operation and progress.operation not in ("", self._operation):
            raise BadFrame("the provisioning service answered about another operation")
        self._assigning = True
        if not self._operation:
            self._operation = progress.operation
            self._started(progress.operation)
        wait = _POLL_SECONDS if asked is None else asked
        if wait > 60 and wait >= by.left(self._waiting()):
            raise ServiceBusy(self._doing, 202, wait)
        pause(max(wait, 0.2), self._waiting(), by=by)
        return None

    def _conflict(self, answer: Answer, asked: float | None, by: Deadline) -> Assigned | None:
        """412: somebody registers this id at the same time. Let them; then see what came of it."""
        self._conflicts += 1
        if self._conflicts > _MOST_CONFLICTS:
            raise refusal(self._doing, answer)
        pause(backoff(self._conflicts) if asked is None else asked, self._waiting(), by=by)
        return self._known(by)

    def _known(self, by: Deadline) -> Assigned | None:
        found = self._device.look_up(by=by)
        if found is not None and found.status == "assigned":
            return parse_assigned(found, self._device.registration_id)
        return None

    def _waiting(self) -> str:
        name = self._device.registration_id
        if not self._operation:
            return f"the provisioning service to take the registration of {name}"
        if not self._assigning:
            return f"the provisioning service to tell of operation {self._operation[:80]} of {name}"
        return (
            f"the provisioning service to assign {name}: it still says assigning after"
            f" {self._polls} polls of operation {self._operation[:80]}"
        )


def is_busy(answer: Answer) -> bool:
    return answer.status == 429 or answer.status >= 500


def refusal(doing: str, answer: Answer) -> ServiceRefused | ServiceBusy:
    """The error that an answer with a status other than 2xx is."""
    if is_busy(answer):
        return ServiceBusy(doing, answer.status, retry_after(answer.header("retry-after")))
    said = Refusal.of(answer)
    return ServiceRefused(
        doing,
        said.message,
        http_status=answer.status,
        code=said.code,
        tracking_id=said.tracking_id,
        hint=_HINTS.get(said.code, ""),
    )


def _final(doing: str, progress: Progress) -> ServiceRefused:
    code, said = progress.failure
    reasons = {
        "disabled": "the device's enrollment is disabled",
        "unassigned": "the device is not assigned to any hub",
        "failed": f"the registration failed: {said[:200] or 'no reason given'}",
    }
    return ServiceRefused(doing, reasons[progress.status], http_status=200, code=code)
