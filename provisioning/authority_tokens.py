"""The tokens of the CA's keys, opened by what the settings call them.

``softhsm:line`` and ``softhsm:root`` are SoftHSM2 tokens of this station, made on first use, for
those who have no HSM. A ``pkcs11:`` URI names any other module's token: it must be initialised
already, and its PIN comes from the file that the URI names, or from whoever is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import BadInput, DeviceRefused, Misuse
from harness.secret import Secret
from provisioning.private_files import private_directory, read_private
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_uri import TokenUri

ROOT_ID, ISSUING_ID = b"trustbox-root-ca", b"trustbox-issuing-ca"
"""CKA_IDs, where a URI names none."""
_SOFTHSM = {"line": ("hsm", "trustbox-factory"), "root": ("hsm-root", "trustbox-root")}
PinAsker = Callable[[str], Secret]
"""Asked with the token's label when its URI has no pin-source."""


def nobody_to_ask(label: str) -> Secret:
    raise Misuse(
        f"the PIN of token {label} is not known, and there is nobody to ask",
        hint="Add pin-source=file:/path to its URI (a file with mode 0600 that has only the PIN).",
    )


def key_id(spec: str, default: bytes) -> bytes:
    """The CKA_ID that the URI names, or ours."""
    if spec.startswith("softhsm:"):
        return default
    return TokenUri.parse(spec, where="the token's URI").id or default


@contextmanager
def opened_token(
    spec: str, state: Path, *, ask: PinAsker = nobody_to_ask, by: Deadline
) -> Iterator[Token]:
    """The token, logged in; logged out and its worker ended afterwards.

    ``state`` is the station's directory, for SoftHSM2's own. Raises Misuse when there is no PIN,
    DeviceRefused when the module does not show exactly this token, TokenRefused for a wrong PIN.
    """
    token = _softhsm(spec, state, by) if spec.startswith("softhsm:") else _named(spec, ask, by)
    try:
        yield token
    finally:
        token.close()


def _softhsm(spec: str, state: Path, by: Deadline) -> Token:
    name = spec.removeprefix("softhsm:")
    if name not in _SOFTHSM:
        expected = "one of " + ", ".join(f"softhsm:{known}" for known in _SOFTHSM)
        raise BadInput(where="the CA's settings", key="token", value=spec, expected=expected)
    directory, label = _SOFTHSM[name]
    return softhsm_token(private_directory(state) / directory, label, by=by)


def _named(spec: str, ask: PinAsker, by: Deadline) -> Token:
    uri = TokenUri.parse(spec, where="the token's URI")
    if not uri.module.is_file():
        raise Misuse(f"there is no PKCS#11 module {uri.module}")
    # An HSM's module finds its way by its maker's variables: it gets all, as in any program.
    token = Token(TokenProcess(str(uri.module), environment=dict(os.environ)))
    try:
        state = token.labelled(uri.token, by=by)
        if state is None or not uri.means(state):
            raise DeviceRefused(
                f"{uri.module} shows no token as the URI names it (label {uri.token})",
                hint="Is it plugged in? Its maker's tool, or pkcs11-tool -L, shows what is there.",
            )
        pin = ask(uri.token) if uri.pin_source is None else _pin_in(uri.pin_source)
        token.login(uri.token, pin, by=by)
    except BaseException:
        token.close()
        raise
    return token


def _pin_in(source: Path) -> Secret:
    pin = read_private(source).removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(pin) <= 128 or b"\n" in pin:
        expected = "one line with the PIN, 128 octets at most"
        raise BadInput(where=str(source), key="the file", value="(hidden)", expected=expected)
    return Secret(pin)
