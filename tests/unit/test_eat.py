"""A token says what was seen of a box and who looked; another form of it is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cwt import COSE, COSEKey
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput, IntegrityFailure
from harness.target import EvidenceLevel
from provisioning import eat
from provisioning.evidence import Evidence
from provisioning.observed import Observed
from provisioning.verdict import verify
from tests.unit import attested
from tests.unit.mutations import mutated

pytestmark = pytest.mark.integrity
AT = 1_800_000_000


@cache
def station(which: int = 0) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@cache
def token(which: int = 0) -> bytes:
    return signed(attested.evidence(), attested.observed(), which)


def signed(evidence: Evidence | None, observed: Observed, which: int = 0) -> bytes:
    verdict = verify(evidence, attested.policy(), observed)
    return eat.sign(
        station(which),
        nonce=attested.NONCE,
        at=AT,
        evidence=evidence,
        observed=observed,
        verdict=verdict,
    )


def read(data: bytes, which: int = 0) -> eat.Token:
    return eat.read(data, station(which).public_key())


def accepted(data: bytes) -> bool:
    """Whether a verifier takes it for good evidence."""
    try:
        found = read(data)
    except (BadInput, IntegrityFailure):
        return False
    return verify(found.evidence, attested.policy(), found.observed).ok


def test_what_was_signed_is_read_and_accepted_elsewhere() -> None:
    found = read(token())

    assert (found.nonce, found.at, found.level) == (attested.NONCE, AT, EvidenceLevel.FUNCTIONAL)
    assert (found.evidence, found.observed) == (attested.evidence(), attested.observed())
    assert accepted(token())


def test_a_token_by_the_fully_specified_algorithm_is_read_too() -> None:
    """RFC 9864: Ed25519 is -19; and only under its own name does the signature hold."""
    payload, kid = cbor2.loads(token()).value[2], eat.key_id(station(0).public_key())
    pem = station(0).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    newer = COSE.new().encode_and_sign(
        payload, COSEKey.from_pem(pem, kid=kid, alg="Ed25519"), protected={1: -19, 4: kid}
    )
    assert isinstance(newer, bytes)

    assert accepted(newer)
    assert not accepted(newer.replace(b"\x01\x32", b"\x01\x27", 1))  # -19 and -8
    assert not accepted(newer.replace(b"\x01\x32", b"\x01\x26", 1))  # -7


def test_its_claims_are_those_of_the_registry() -> None:
    claims = cbor2.loads(cbor2.loads(token()).value[2])

    assert claims[6] == AT
    assert claims[10] == attested.NONCE
    assert claims[256] == b"\x01" + attested.TEE_UUID.bytes
    assert claims[274][0][1][0] == ["nonce", 1]


def test_a_box_that_gave_no_evidence_has_a_token_too() -> None:
    found = read(signed(None, attested.observed()))

    assert found.evidence is None
    assert not verify(found.evidence, attested.policy(), found.observed).ok


def test_a_token_of_another_station_is_refused() -> None:
    with pytest.raises(BadInput, match="signed by"):
        read(token(1))


def test_evidence_under_another_nonce_is_refused() -> None:
    other = replace(attested.evidence(), nonce=bytes(32))

    with pytest.raises(BadInput, match="nonce and level"):
        read(signed(other, attested.observed()))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({10: bytes(8)}, id="short nonce"),
        pytest.param({6: "now"}, id="time as text"),
        pytest.param({265: "urn:other"}, id="another profile"),
        pytest.param({-70001: "fictional"}, id="level"),
        pytest.param({-70001: "hardware"}, id="another level than the evidence's"),
        pytest.param({-70003: "{}"}, id="observed"),
        pytest.param({274: []}, id="no results"),
        pytest.param({256: bytes(17)}, id="another box"),
        pytest.param({99: 1}, id="a claim too many"),
    ],
)
def test_claims_of_another_form_are_refused_though_they_are_signed(
    claims: dict[int, object],
) -> None:
    signer = station(0)
    outer = cbor2.loads(token())
    payload = cbor2.dumps({**cbor2.loads(outer.value[2]), **claims}, canonical=True)
    to_sign = cbor2.dumps(["Signature1", outer.value[0], b"", payload])
    signature = signer.sign(to_sign)
    data = cbor2.dumps(cbor2.CBORTag(18, [outer.value[0], {}, payload, signature]))

    with pytest.raises(BadInput):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(eat.LARGEST + 1), id="long"),
        pytest.param(b"\x9f" * 10_000, id="deep"),
        pytest.param(cbor2.dumps(cbor2.CBORTag(18, [])), id="no parts"),
        pytest.param(cbor2.dumps({1: 2}), id="a map"),
    ],
)
def test_what_is_no_token_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_token_is_refused_and_never_crashes(data: st.DataObject) -> None:
    assert not accepted(mutated(data, token()))


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None, database=None)
@given(st.data())
def test_ten_thousand_mutated_tokens_are_refused_and_none_crashes(data: st.DataObject) -> None:
    assert not accepted(mutated(data, token()))
