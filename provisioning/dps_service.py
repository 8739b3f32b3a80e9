"""Azure's Device Provisioning Service, the factory's side: who may register.

An individual enrollment lets in one certificate's holder, a group whoever has a certificate of a
CA. Only X.509. Authorised by a shared access policy's key, which is asked for at each request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Unpack
from urllib.parse import quote

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import BadFrame, Misuse
from harness.secret import Secret
from provisioning.dps import refusal
from provisioning.dps_answers import checked_registration_id
from provisioning.dps_enrollment import (
    Enrollment,
    Kind,
    Wish,
    body_of,
    checked_wish,
    differences,
    parse_enrollment,
)
from provisioning.dps_sas import sas_token
from provisioning.http_client import Answer, Http
from provisioning.http_connection import Connector
from provisioning.http_errors import ServiceBusy, ServiceRefused
from provisioning.http_waiting import backoff, pause, retry_after

API_VERSION = "2021-10-01"
POLICY = "provisioningserviceowner"


class DpsService:
    """One provisioning service. Methods raise what HTTP raises, ServiceRefused and ServiceBusy.

    While it has too much to do (429) it is asked again, until the deadline.
    """

    def __init__(
        self,
        url: str,
        connector: Connector,
        key: Callable[[], Secret],
        *,
        policy: str = POLICY,
        api_version: str = API_VERSION,
    ) -> None:
        """``url`` is the service's own address, not the global one; ``key`` is base64."""
        self._http = Http(url, connector)
        self._key, self._policy = key, policy
        self._version = f"?api-version={quote(api_version, safe='')}"

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> DpsService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, kind: Kind, id: str, *, by: Deadline) -> Enrollment | None:
        """The enrollment of this id; None when there is none."""
        answer = self._ask("GET", _path(kind, id), by)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refusal(f"looking up enrollment {id}", answer)
        return parse_enrollment(kind, answer)

    def ensure(
        self,
        kind: Kind,
        id: str,
        certificate: x509.Certificate,
        *,
        replace: bool = False,
        by: Deadline,
        **wish: Unpack[Wish],
    ) -> tuple[Enrollment, bool]:
        """Have this enrollment; whether it was made or changed.

        One that is there and differs is changed only with ``replace``; otherwise Misuse, naming
        what differs. What is not wished stays as it is, and nothing is overwritten that somebody
        else made or changed meanwhile (If-None-Match, If-Match): then ServiceRefused.
        """
        checked_wish(kind, wish)
        id = checked_registration_id(id)
        present = self.find(kind, id, by=by)
        if present is not None:
            other = differences(present, certificate, wish)
            if not other:
                return present, False
            if not replace:
                raise Misuse(
                    f"enrollment {id} is there with another {' and '.join(other)}",
                    hint="Look at it first (trustbox dps show), then replace it if it is yours.",
                )
        body = body_of(kind, id, certificate, wish, present)
        unless = {"if-match": _quoted(present.etag)} if present else {"if-none-match": "*"}
        answer = self._ask("PUT", _path(kind, id), by, body, unless)
        if answer.status not in (200, 201):
            raise _raced(refusal(f"enrolling {id}", answer))
        made = parse_enrollment(kind, answer)
        if differences(made, certificate, wish):
            raise BadFrame(f"the service shows another enrollment {id} than it was given")
        return made, True

    def remove(self, kind: Kind, id: str, *, by: Deadline) -> bool:
        """Remove the enrollment; False when there was none. Devices stay known to their hub."""
        present = self.find(kind, id, by=by)
        if present is None:
            return False
        match = {"if-match": _quoted(present.etag)}
        answer = self._ask("DELETE", _path(kind, id), by, headers=match)
        if answer.status not in (200, 204, 404):
            raise refusal(f"removing enrollment {id}", answer)
        return True

    def _ask(
        self,
        method: str,
        path: str,
        by: Deadline,
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        failures = 0
        while True:
            answer = self._http.request(
                method,
                f"{path}{self._version}",
                by=by,
                headers={
                    "authorization": sas_token(self._http.base.host, self._policy, self._key()),
                    "content-type": "application/json",
                    "accept": "application/json",
                    **(headers or {}),
                },
                body=b"" if body is None else json.dumps(body).encode(),
            )
            if answer.status != 429:  # a 5xx may have been done all the same
                return answer
            failures += 1
            asked, doing = retry_after(answer.header("retry-after")), "the provisioning service"
            wait = backoff(failures) if asked is None else asked
            if wait >= by.left(doing):
                return answer
            pause(wait, doing, by=by)


def _path(kind: Kind, id: str) -> str:
    return f"/{kind.path}/{quote(checked_registration_id(id), safe='')}"


def _raced(problem: ServiceRefused | ServiceBusy) -> ServiceRefused | ServiceBusy:
    if isinstance(problem, ServiceRefused) and problem.http_status in (409, 412):
        problem.hint = (
            "Somebody else made or changed it at the same time; nothing was overwritten. Look at"
            " it (trustbox dps show), then run this again."
        )
    return problem


def _quoted(etag: str) -> str:
    return etag if etag.startswith('"') else f'"{etag}"'
