"""What docs/faults.md says of each fault of a DPS; test_steps_dps_faults.py shows it."""

from __future__ import annotations

import pytest

from tests.fault_rows import each

REFUSALS = {
    "401002": pytest.mark.fault(
        "DPS",
        "401002: the service does not take the certificate",
        comes="ServiceRefused, status 6, with the service's code and tracking id",
        then="check that the enrollment has the CA that issued the certificate, and that the chain"
        " has its intermediates; then run again",
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "403, 404, 409, 415, or a redirect, which is not followed",
            comes="ServiceRefused, status 6, with the service's code and tracking id",
            then="correct the service's URL, the ID scope or the enrollment, then run again",
        ),
        *("403", "404", "409", "415", "302"),
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "429 or 503 for an hour",
            comes="ServiceBusy, status 9, with the time",
            then="run again after that time",
        ),
        *("429 for an hour", "503 for an hour"),
    ),
    "poll refused": pytest.mark.fault(
        "DPS",
        "the poll of an operation is refused",
        comes="ServiceRefused, status 6; the operation is not kept",
        then="run again: the service is asked first whether it knows the box",
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "202 assigning or 429 to a poll, with Retry-After of an hour or of 10^9 s",
            comes="ServiceBusy, status 9, at once; the operation is kept",
            then="run again after that time: the same operation is polled",
        ),
        *("poll busy", "assigning, asked again in an hour", "assigning, asked again in 10^9 s"),
    ),
    "assigning for ever": pytest.mark.fault(
        "DPS",
        "assigning for ever",
        comes="DeadlineExpired, status 4; the operation is kept",
        then="look at the service's own allocation, then run again: the same operation is polled",
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "the enrollment is disabled; the box is not assigned; the allocation failed (400209)",
            comes="ServiceRefused, status 6, with the reason that the service gives",
            then="correct the enrollment or the allocation at the service, then run again",
        ),
        *("disabled", "unassigned", "failed"),
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "an answer of another form: unknown status, no operation, another operation, a key"
            " twice, NaN, HTML, gzip, hub empty or with a port",
            comes="BadFrame, status 4, which says what is wrong with it",
            then="check that the URL is the service's own and that nothing stands in between,"
            " then run again",
        ),
        *("unknown status", "no operation", "another operation", "a key twice", "NaN", "HTML"),
        *("gzip", "no hub", "hub with a port"),
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "an answer about another device; assigned, and then the service knows nothing of it",
            comes="IntegrityFailure, status 7",
            then="find out whom the service mixed up before anything is shipped, then run again",
        ),
        *("another device", "look-up of another device", "assigned, then forgotten"),
    ),
}
PASSING = {
    **each(
        pytest.mark.fault(
            "DPS",
            "412, 429 with Retry-After 0, 500, a cut connection, an operation that is gone: each"
            " once",
            comes="works: the run waits, looks the box up, or asks again",
            then="nothing",
        ),
        *("429", "500", "412", "operation gone", "500 at a poll", "cut"),
    ),
    **each(
        pytest.mark.fault(
            "DPS",
            "no fault: 200 at once; 202 and polls",
            comes="works",
            then="nothing",
        ),
        *("at once", "three polls"),
    ),
}
STOPPED = pytest.mark.fault(
    "DPS",
    "a run was stopped while the service assigned the box; the operation has dots, a slash or %",
    comes="works: the run polls that operation and begins no other",
    then="run again",
)
MOVED = pytest.mark.fault(
    "DPS",
    "the service sends the box to another hub",
    comes="works: the record names the new hub",
    then="nothing",
)
UNTRUSTED = pytest.mark.fault(
    "DPS",
    "the service's certificate is of another root",
    comes="UntrustedServer, status 5; nothing was sent to it",
    then="correct the plan's trusted certificates or the service's URL, then run again",
)
NOT_ENROLLED = pytest.mark.fault(
    "DPS",
    "no enrollment has the CA that issued the box's certificate",
    comes="ServiceRefused 401002, status 6, which says what to look at",
    then="enroll the issuing CA at the service, then run again",
)
