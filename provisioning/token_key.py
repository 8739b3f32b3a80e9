"""Private keys in a token, in the shape that cryptography's builders sign with."""

from __future__ import annotations

import hashlib
from typing import NoReturn

from asn1crypto import algos
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.token import KeyPair, Token, verifies

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class _InToken:
    """What all keys in tokens have in common: they sign there and have no bytes to give away.

    ``by`` bounds every signature made with it: it is meant for one certificate or request.
    """

    def __init__(self, token: Token, pair: KeyPair, *, by: Deadline) -> None:
        self._token, self._pair, self._by = token, pair, by

    def private_numbers(self) -> NoReturn:
        raise Misuse("a private key in a token has no numbers to show")

    def private_bytes(self, *_: object) -> NoReturn:
        raise Misuse("a private key in a token has no bytes to show")

    def private_bytes_raw(self) -> NoReturn:
        raise Misuse("a private key in a token has no bytes to show")

    def exchange(self, *_: object) -> NoReturn:
        raise Misuse("this key in a token is for signatures only")

    def decrypt(self, *_: object) -> NoReturn:
        raise Misuse("this key in a token is for signatures only")


class TokenKey(_InToken, ec.EllipticCurvePrivateKey):
    """ECDSA on P-256 or P-384, with a hash of the SHA-2 family."""

    def __init__(self, token: Token, pair: KeyPair, *, by: Deadline) -> None:
        super().__init__(token, pair, by=by)
        if not isinstance(pair.public_key, ec.EllipticCurvePublicKey):
            raise _wrong_kind(pair)
        self._public = pair.public_key

    def sign(
        self,
        data: bytes | bytearray | memoryview,
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
    ) -> bytes:
        digest = _digest(data, signature_algorithm.algorithm)
        return self._token.sign(self._pair.id, digest, by=self._by)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> TokenKey:
        return self


class RsaTokenKey(_InToken, rsa.RSAPrivateKey):
    """RSASSA-PKCS1-v1_5, the scheme that every verifier of certificates knows."""

    def __init__(self, token: Token, pair: KeyPair, *, by: Deadline) -> None:
        super().__init__(token, pair, by=by)
        if not isinstance(pair.public_key, rsa.RSAPublicKey):
            raise _wrong_kind(pair)
        self._public = pair.public_key

    def sign(
        self,
        data: bytes | bytearray | memoryview,
        padding: padding.AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        if padding.name != "EMSA-PKCS1-v1_5" or isinstance(algorithm, utils.NoDigestInfo):
            raise Misuse("RSA keys in tokens sign with PKCS #1 v1.5 here")
        if isinstance(algorithm, utils.Prehashed):
            raise Misuse("keys in tokens hash what they sign themselves here")
        digest = _digest(data, algorithm)
        info = {"digest_algorithm": {"algorithm": algorithm.name}, "digest": digest}
        packed = algos.DigestInfo(info).dump()
        return self._token.sign_raw(self._pair.id, packed, "rsa-pkcs1", by=self._by)

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def __copy__(self) -> RsaTokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> RsaTokenKey:
        return self


class Ed25519TokenKey(_InToken, ed25519.Ed25519PrivateKey):
    """Ed25519: all of the message goes into the token."""

    def __init__(self, token: Token, pair: KeyPair, *, by: Deadline) -> None:
        super().__init__(token, pair, by=by)
        if not isinstance(pair.public_key, ed25519.Ed25519PublicKey):
            raise _wrong_kind(pair)
        self._public = pair.public_key

    def sign(self, data: bytes | bytearray | memoryview) -> bytes:
        return self._token.sign_raw(self._pair.id, bytes(data), "eddsa", by=self._by)

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public

    def __copy__(self) -> Ed25519TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Ed25519TokenKey:
        return self


SigningKey = TokenKey | RsaTokenKey | Ed25519TokenKey


def signing_key(token: Token, pair: KeyPair, *, by: Deadline) -> SigningKey:
    """The private half of the pair, whatever its kind."""
    if isinstance(pair.public_key, rsa.RSAPublicKey):
        return RsaTokenKey(token, pair, by=by)
    if isinstance(pair.public_key, ed25519.Ed25519PublicKey):
        return Ed25519TokenKey(token, pair, by=by)
    return TokenKey(token, pair, by=by)


def prove(token: Token, pair: KeyPair, challenge: bytes, *, by: Deadline) -> tuple[bytes, bool]:
    """Have the private half in the token sign a challenge: the signature (over its SHA-256; ECDSA
    as DER, PKCS #1 v1.5 or Ed25519), and whether it verifies here with the public half.
    """
    key, digest = signing_key(token, pair, by=by), hashlib.sha256(challenge).digest()
    if isinstance(key, TokenKey):
        signature = key.sign(challenge, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, RsaTokenKey):
        signature = key.sign(challenge, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(digest)
    return signature, verifies(pair.public_key, signature, digest)


def answers(token: Token, pair: KeyPair, challenge: bytes, *, by: Deadline) -> bool:
    """Whether the private half in the token signs a challenge so that the public half agrees."""
    return prove(token, pair, challenge, by=by)[1]


def _wrong_kind(pair: KeyPair) -> Misuse:
    return Misuse(f"key {pair.label} in the token is {pair.profile.value}")


def _digest(
    data: bytes | bytearray | memoryview, algorithm: utils.Prehashed | hashes.HashAlgorithm
) -> bytes:
    if isinstance(algorithm, utils.Prehashed) or not isinstance(algorithm, _HASHES):
        raise Misuse("keys in tokens sign with SHA-256, SHA-384 or SHA-512 here")
    return hashlib.new(algorithm.name, data).digest()
