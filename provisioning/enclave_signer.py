"""Keys that sign Trusted Applications: in a file, or in a PKCS#11 token that they never leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from asn1crypto import algos
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from harness.deadline import Deadline
from harness.errors import BadInput, DeviceRefused, IntegrityFailure
from provisioning.authority_tokens import PinAsker, nobody_to_ask, opened_token
from provisioning.enclave_format import LEAST_BITS, MOST_BITS, Algorithm
from provisioning.key_files import private_key_in, public_key_in
from provisioning.pkcs11_uri import check_typed, is_uri
from provisioning.token import Token
from provisioning.token_public import KeyPair
from provisioning.token_uri import TokenUri


class TaSigner(Protocol):
    """Signs the digest of a TA's header (SHA-256, 32 bytes)."""

    @property
    def public_key(self) -> rsa.RSAPublicKey: ...

    def sign(self, digest: bytes, algorithm: Algorithm, *, by: Deadline) -> bytes:
        """The signature, as long as the modulus. PSS salts have 32 bytes."""


class FileSigner:
    """An RSA private key in a PEM file without a password that only its owner may read."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput; it never quotes the file."""
        expected = "an RSA private key in PEM, without a password"
        key = private_key_in(path, expected)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise _bad(path, expected)
        self._key = key
        self.public_key = long_enough(key.public_key(), str(path))

    def sign(self, digest: bytes, algorithm: Algorithm, *, by: Deadline) -> bytes:
        return self._key.sign(digest, padding(algorithm), Prehashed(SHA256()))


class TokenSigner:
    """An RSA key in a PKCS#11 token. What comes back is checked before anybody gets it."""

    def __init__(self, token: Token, pair: KeyPair, where: str) -> None:
        if not isinstance(pair.public_key, rsa.RSAPublicKey):
            expected = "an RSA key, as OP-TEE takes no other"
            raise BadInput(where=where, key="the key", value=pair.profile.value, expected=expected)
        self._token, self._pair = token, pair
        self.public_key = long_enough(pair.public_key, where)

    def sign(self, digest: bytes, algorithm: Algorithm, *, by: Deadline) -> bytes:
        if algorithm is Algorithm.PSS:
            signature = self._token.sign_raw(self._pair.id, digest, "rsa-pss-sha256", by=by)
        else:
            info = algos.DigestInfo(
                {"digest_algorithm": {"algorithm": "sha256"}, "digest": digest}
            ).dump()
            signature = self._token.sign_raw(self._pair.id, info, "rsa-pkcs1", by=by)
        if not signature_is_good(self.public_key, signature, digest, algorithm):
            raise IntegrityFailure("the token's signature under the TA does not verify")
        return signature


@contextmanager
def opened_signer(
    key: str, *, ask: PinAsker = nobody_to_ask, state: Path | None = None, by: Deadline
) -> Iterator[TaSigner]:
    """``key`` is a PEM file's path, or a ``pkcs11:`` URI that names token and key (``id``
    or ``object``).

    ``state``: the station that counts a token's wrong PINs. Raises BadInput, Misuse, and for tokens
    what ``opened_token`` raises.
    """
    if not is_uri(key):
        yield FileSigner(Path(key))
        return
    check_typed(key, where="--key")
    uri = TokenUri.parse(key, where="--key")
    if uri.id is None and uri.object is None:
        expected = "id=%01%02..., the CKA_ID of the signing key, or object=..., its label"
        raise BadInput(where="--key", key="id", value=None, expected=expected)
    with opened_token(key, state, ask=ask, by=by) as token:
        id = uri.id or token.id_of(uri.object or "", by=by)
        pair = None if id is None else token.find(id, by=by)
        if pair is None or uri.object not in (None, pair.label):
            named = [f"id {uri.id.hex()}"] if uri.id else []
            named += [f"label {uri.object}"] if uri.object else []
            raise DeviceRefused(f"token {uri.token} has no key pair of {' and '.join(named)}")
        yield TokenSigner(token, pair, "--key")


def read_public_key(path: Path) -> rsa.RSAPublicKey:
    """From a PEM file with a public key, or with the private one. Raises BadInput, for a key of a
    size that OP-TEE does not take, too."""
    expected = "an RSA public key in PEM"
    key = public_key_in(path, expected)
    if not isinstance(key, rsa.RSAPublicKey):
        raise _bad(path, expected)
    return long_enough(key, str(path))


def signature_is_good(
    key: rsa.RSAPublicKey, signature: bytes, digest: bytes, algorithm: Algorithm
) -> bool:
    """Also False where a signature of this kind cannot be made with the key: it is too short."""
    try:
        key.verify(signature, digest, padding(algorithm), Prehashed(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def has_other_salt(
    key: rsa.RSAPublicKey, signature: bytes, digest: bytes, algorithm: Algorithm
) -> bool:
    """Whether it is a good RSA-PSS signature of any salt length: OP-TEE takes 32 octets only."""
    try:
        any_salt = PSS(mgf=MGF1(SHA256()), salt_length=PSS.AUTO)
        key.verify(signature, digest, any_salt, Prehashed(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return algorithm is Algorithm.PSS


def padding(algorithm: Algorithm) -> AsymmetricPadding:
    return PSS(mgf=MGF1(SHA256()), salt_length=32) if algorithm is Algorithm.PSS else PKCS1v15()


def long_enough(key: rsa.RSAPublicKey, where: str) -> rsa.RSAPublicKey:
    if not LEAST_BITS <= key.key_size <= MOST_BITS:
        expected = f"{LEAST_BITS} to {MOST_BITS} bits, as OP-TEE takes no other"
        raise BadInput(where=where, key="the key", value=key.key_size, expected=expected)
    return key


def _bad(path: Path, expected: str) -> BadInput:
    return BadInput(where=str(path), key="the file", value="(hidden)", expected=expected)
