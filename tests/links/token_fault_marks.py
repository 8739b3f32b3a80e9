"""What docs/faults.md says of each faulty token; test_steps_token_faults.py shows it."""

from __future__ import annotations

import pytest

from tests.fault_rows import each

TOKENS = {
    "wrong PIN": pytest.mark.fault(
        "Token",
        "wrong user PIN, once",
        comes="TokenRefused CKR_PIN_INCORRECT, status 6; the objects as they were, one try used",
        then="put the box's own PIN into the file that the plan's [secrets] names, then run again",
    ),
    **each(
        pytest.mark.fault(
            "Token",
            "a PIN of 3 octets, of 129",
            comes="BadInput, status 2; the objects as they were, no try used",
            then="give a PIN of 4 to 128 octets",
        ),
        *("PIN of 3 octets", "PIN of 129 octets"),
    ),
    "two tokens of one label": pytest.mark.fault(
        "Token",
        "two tokens of one label",
        comes="DeviceRefused, status 6; both as they were",
        then="find out which one is the box's; name another label in the plan",
    ),
    "two keys of one id": pytest.mark.fault(
        "Token",
        "two keys of one CKA_ID",
        comes="DeviceRefused, status 6; both are there, for a person to look at",
        then="look at both with trustbox keys list and trustbox keys evidence; erase the one that"
        " is not the box's",
    ),
    "key of another curve": pytest.mark.fault(
        "Token",
        "a key of another curve than the plan's",
        comes="IntegrityFailure, status 7; the key as it was",
        then="give the key another purpose in the plan, or rotate it with trustbox keys rotate",
    ),
    **each(
        pytest.mark.fault(
            "Token",
            "an imported key that poses as made in the token; EXTRACTABLE; not SENSITIVE",
            comes="IntegrityFailure, status 7, with the attribute; the key as it was, no"
            " certificate asked for",
            then="erase the key with trustbox keys erase, then run again: the token makes one",
        ),
        *("imported key posing as made here", "EXTRACTABLE", "not SENSITIVE"),
    ),
}
