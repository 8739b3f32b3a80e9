"""What can go wrong with a service (EST, DPS), sorted by whose move it is, as in harness.errors."""

from __future__ import annotations

import datetime

from harness.errors import LinkError, TrustBoxError


class UntrustedServer(TrustBoxError):
    """A server's certificate does not verify for its name; nothing was sent to it."""

    exit_status = 5

    def __init__(self, host: str, why: str) -> None:
        super().__init__(
            f"{host} is not to be trusted: {why}",
            hint="Check that the trusted certificates are the service's present ones, the host's"
            " clock, and that nobody stands in between.",
        )
        self.host, self.why = host, why


class ServiceRefused(TrustBoxError):
    """A service understood the request and said no.

    ``http_status`` is 0 when it said so in TLS; ``code`` is the service's own error code, e.g.
    ``401002``, or "" ; ``tracking_id`` is what its maker's support asks for.
    """

    exit_status = 6

    def __init__(
        self,
        doing: str,
        why: str,
        *,
        http_status: int = 0,
        code: str = "",
        tracking_id: str = "",
        hint: str = "",
    ) -> None:
        shown = " ".join(part for part in (str(http_status or ""), code) if part)
        traced = f" [{tracking_id}]" if tracking_id else ""
        super().__init__(
            f"{doing}: the service refused ({shown or 'TLS'}): {why}{traced}", hint=hint
        )
        self.doing, self.why, self.http_status = doing, why, http_status
        self.code, self.tracking_id = code, tracking_id


class ServiceBusy(LinkError):
    """The service has no time, is out of order (429, 5xx) or wants to be asked again (202), and
    longer so than we may wait.

    ``retry_after`` are the seconds that it asked for; None when it did not say. Where it did, the
    exit status is 9, as that of PutOff: it is known when the same will be taken.
    """

    def __init__(self, doing: str, http_status: int, retry_after: float | None) -> None:
        said = "" if retry_after is None else f"; it asks to come back in {retry_after:.0f} s"
        state = "busy or broken" if http_status >= 400 else "not done with it"
        when = "later" if retry_after is None else "after that time"
        super().__init__(
            f"{doing}: the service is {state} ({http_status}){said}",
            hint=f"Run the same again {when}.",
        )
        if retry_after is not None:
            self.exit_status = 9
        self.doing, self.http_status, self.retry_after = doing, http_status, retry_after


class PutOff(LinkError):
    """The service wants to be asked again, not before ``until`` (UTC); what to ask is kept."""

    exit_status = 9

    def __init__(self, doing: str, until: datetime.datetime) -> None:
        said = until.astimezone(datetime.UTC).isoformat(timespec="seconds")
        super().__init__(
            f"{doing}: the service wants to be asked again at {said}",
            hint="Run the same again after that time: it goes on with the same request.",
        )
        self.doing, self.until = doing, until
