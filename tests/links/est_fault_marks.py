"""What docs/faults.md says of each fault of an EST server; test_steps_est_faults.py shows it."""

from __future__ import annotations

import pytest

from tests.fault_rows import each

REFUSED = pytest.mark.fault(
    "EST",
    "401 for ever, 400, a redirect",
    comes="ServiceRefused, status 6, with the server's words; the login is offered once and to no"
    " other server",
    then="correct the login, the request or the URL in the plan, then run again",
)
UNPROVEN = pytest.mark.fault(
    "EST",
    "the server wants proof of possession and the plan does not give it",
    comes="ServiceRefused, status 6, which says so",
    then='set proof = "tls-unique" in [enrollment.est] and run again: it works',
)
ANSWERS = {
    **each(
        pytest.mark.fault(
            "EST",
            "an answer without a certificate: empty PKCS#7, libest's empty one, nothing at all",
            comes="BadFrame, status 4; no certificate is kept",
            then="look at the server's own log and its file of CA certificates, then run again",
        ),
        *("empty PKCS#7", "libest's empty PKCS#7", "nothing"),
    ),
    **each(
        pytest.mark.fault(
            "EST",
            "an answer with no certificate in any form: HTML, cut PEM, other signs, over 1 MiB",
            comes="BadFrame, status 4, which says what it is; too much is cut off at 1 MiB",
            then="check the server's URL and label: a proxy or another service may answer there;"
            " then run again",
        ),
        *("HTML", "HTML, said to be so", "PEM, cut", "not base64", "too much"),
    ),
    "two for one key": pytest.mark.fault(
        "EST",
        "two certificates for one key in one answer",
        comes="BadFrame, status 4; both are kept in issued/",
        then="run again: the one that came last is taken, and none is asked for;"
        " have the other one revoked",
    ),
    **each(
        pytest.mark.fault(
            "EST",
            "a certificate that is not good: another key's, a CA's, ended, of another name, of"
            " another root",
            comes="IntegrityFailure, status 7, with the rule that it breaks; the certificate is"
            " kept in issued/ and is not installed",
            then="have the CA that issued it corrected and the certificate revoked, then run"
            " again: a new one is asked for with the same request",
        ),
        *("for another key", "a CA's", "ended", "another name", "another root"),
    ),
    **each(
        pytest.mark.fault(
            "EST",
            "202 with Retry-After of an hour, of 10^9 s, or a date",
            comes="PutOff, status 9: the step is parked, and until that time nobody is asked",
            then="run again after the time that the message names",
        ),
        *("202, an hour", "202, 10^9", "202, a date"),
    ),
    **each(REFUSED, "401", "400", "a redirect"),
    "401, proof of possession": UNPROVEN,
    "500": pytest.mark.fault(
        "EST",
        "500",
        comes="ServiceBusy, status 4",
        then="run again later",
    ),
    "cut": pytest.mark.fault(
        "EST",
        "the connection ends in mid-answer",
        comes="LinkLost, status 4",
        then="check the network and run again",
    ),
    "drips": pytest.mark.fault(
        "EST",
        "the answer comes octet by octet",
        comes="DeadlineExpired, status 4, when the step's time is over",
        then="look at the server, then run again",
    ),
}
CACERTS = each(
    pytest.mark.fault(
        "EST",
        "/cacerts answers 500, is cut, or is HTML",
        comes="ServiceBusy, LinkLost or BadFrame, status 4; nothing was posted",
        then="run again when the server is well: one certificate is issued in all",
    ),
    *("cacerts 500", "cacerts cut", "cacerts HTML"),
)
WRONG_ROOT = pytest.mark.fault(
    "EST",
    "the plan names a root that is not the issuer's",
    comes="IntegrityFailure, status 7; the certificate is kept in issued/",
    then="name the right root in the plan and run again: the certificate that came then is taken,"
    " and none is asked for",
)
SHORT_WAIT = pytest.mark.fault(
    "EST",
    "202 with Retry-After absent, negative, no number, or 0",
    comes="works: the run waits and posts the same octets",
    then="nothing",
)
PARKED = pytest.mark.fault(
    "EST",
    "a run before the time that the server named",
    comes="PutOff, status 9; nobody is asked",
    then="run again after the time that the message names",
)
UNTRUSTED = pytest.mark.fault(
    "EST",
    "the server's certificate has ended, is of another name, or of an old root",
    comes="UntrustedServer, status 5; nothing was sent to it",
    then="correct the server's URL or the plan's trusted certificates, check the host's clock,"
    " then run again",
)
