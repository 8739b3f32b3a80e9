"""A private key in a token, in the shape that cryptography's builders sign with."""

from __future__ import annotations

import hashlib
from typing import NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.token import KeyPair, Token


class TokenKey(ec.EllipticCurvePrivateKey):
    """Signs in the token, with ECDSA and SHA-256; has no bytes to give away.

    ``by`` bounds every signature made with it: it is meant for one certificate or request.
    """

    def __init__(self, token: Token, pair: KeyPair, *, by: Deadline) -> None:
        self._token, self._pair, self._by = token, pair, by

    def sign(
        self,
        data: bytes | bytearray | memoryview,
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
    ) -> bytes:
        chosen = signature_algorithm.algorithm
        if isinstance(chosen, utils.Prehashed) or not isinstance(chosen, hashes.SHA256):
            raise Misuse("keys in tokens sign with ECDSA and SHA-256 here")
        return self._token.sign(self._pair.id, hashlib.sha256(data).digest(), by=self._by)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._pair.public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._pair.public_key.curve

    @property
    def key_size(self) -> int:
        return self._pair.public_key.key_size

    def exchange(self, *_: object) -> NoReturn:
        raise Misuse("this key in a token is for signatures only")

    def private_numbers(self) -> NoReturn:
        raise Misuse("a private key in a token has no numbers to show")

    def private_bytes(self, *_: object) -> NoReturn:
        raise Misuse("a private key in a token has no bytes to show")

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> TokenKey:
        return self
