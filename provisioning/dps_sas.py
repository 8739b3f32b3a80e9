"""Shared access signatures, with which Azure's services know who asks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from urllib.parse import quote

from harness.errors import Misuse
from harness.secret import Secret

LIFE_SECONDS = 300


def sas_token(host: str, policy: str, key: Secret, *, now: float | None = None) -> str:
    """A token for ``host`` that ends in five minutes.

    ``key`` is base64, as the portal shows it. Raises Misuse, not quoting it, for anything else.
    The signature is HMAC-SHA256 over the encoded resource, a line feed and the end in Unix time.
    """
    try:
        octets = base64.b64decode(key.reveal(), validate=True)
    except binascii.Error:
        octets = b""
    if not octets:
        raise Misuse("the shared access key is not base64")
    resource = quote(host.lower(), safe="")
    end = int(time.time() if now is None else now) + LIFE_SECONDS
    digest = hmac.digest(octets, f"{resource}\n{end}".encode(), hashlib.sha256)
    signature = quote(base64.b64encode(digest), safe="")
    name = quote(policy, safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={end}&skn={name}"
