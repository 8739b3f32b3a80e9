"""The CA's keys in their tokens: found, compared with the certificate, and looked at."""

from __future__ import annotations

import secrets

from cryptography import x509
from cryptography.x509.oid import NameOID

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.authority_policy import MADE_SO
from provisioning.authority_settings import RoleSettings
from provisioning.authority_signing import Signer
from provisioning.token import Token
from provisioning.token_key import answers
from provisioning.token_public import KeyPair


def signer_of(token: Token, id: bytes, certificate: x509.Certificate, by: Deadline) -> Signer:
    """The CA's key in the token. Raises IntegrityFailure unless it is the certificate's."""
    pair = token.find(id, by=by)
    name = named(certificate)
    if pair is None:
        raise IntegrityFailure(
            f"the token does not hold the key of {name}",
            hint="Was the token exchanged or wiped? A CA is not made anew by itself: bring back the"
            " token, or its backup.",
        )
    if pair.public_key != certificate.public_key():
        raise IntegrityFailure(
            f"the key in the token is not that of {name}",
            hint="Bring back the token that belongs to this CA (SoftHSM2's: hsm/ or hsm-root/), or"
            " its backup; or is --state or ca.json another station's?",
        )
    return Signer(token, pair)


def named(certificate: x509.Certificate) -> str:
    """Its subject for people."""
    return certificate.subject.rfc4514_string({NameOID.SERIAL_NUMBER: "serialNumber"})


def of_kind(pair: KeyPair, chosen: RoleSettings) -> None:
    """Raises Misuse when the token's key is of another kind than was chosen."""
    if pair.profile is not chosen.key:
        raise Misuse(f"the key in the token is {pair.profile.value}, not {chosen.key.value}")


def key_is_good(signer: Signer, by: Deadline) -> str:
    """Its attributes are as the policy wants them, and a fresh signature verifies.

    Raises IntegrityFailure. The attributes are the token's own word (see key_evidence).
    """
    found = signer.token.attributes(signer.pair.id, tuple(MADE_SO), by=by)
    wrong = [f"{name} = {found[name]}" for name, value in MADE_SO.items() if found[name] != value]
    if wrong:
        raise IntegrityFailure(
            f"the CA's key is not kept as it must be: the token says {', '.join(wrong)}"
        )
    if not answers(signer.token, signer.pair, secrets.token_bytes(32), by=by):
        raise IntegrityFailure("the CA's key in the token does not answer a fresh challenge")
    return "made in its token, cannot leave it, signs"
