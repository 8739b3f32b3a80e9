"""The tokens of the CA's keys, opened by what the settings call them.

``softhsm:line`` and ``softhsm:root`` are SoftHSM2 tokens of this station, made by the CA's
ceremony, for those who have no HSM. A ``pkcs11:`` URI names any other module's token: it must be
initialised already, and its PIN comes from the file that the URI names, or from whoever is asked.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import BadInput, DeviceRefused, Misuse
from harness.owned import distrust
from harness.secret import Secret
from harness.shown import HIDDEN
from provisioning.pin_budget import PinBudget
from provisioning.private_files import read_private
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_session import TokenSession
from provisioning.token_state import TokenState
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


def key_id(spec: str, default: bytes, *, where: str = "the token's URI") -> bytes:
    """The CKA_ID that the URI names, or ours. Raises BadInput, naming ``where``, for a URI that is
    none, or names the key by its label alone.
    """
    if spec.startswith("softhsm:"):
        return default
    uri = TokenUri.parse(spec, where=where)
    if uri.object is not None and uri.id is None:
        expected = "id=%01%02... as well: the key is found by its CKA_ID"
        raise BadInput(where=where, key="object", value=HIDDEN, expected=expected)
    return uri.id or default


@contextmanager
def opened_token(
    spec: str,
    state: Path | None,
    *,
    ask: PinAsker = nobody_to_ask,
    make: bool = False,
    by: Deadline,
) -> Iterator[Token]:
    """The token, logged in; logged out and its worker ended afterwards. A session that is lost
    meanwhile comes back by itself (token_session).

    ``state`` is the station's directory, for SoftHSM2's own and for the count of wrong PINs; None:
    nobody counts. ``make``: SoftHSM2's own is made where it is not there yet.

    Raises Misuse when there is no PIN, DeviceRefused when the module does not show
    exactly one such token, TokenRefused for a wrong PIN, and for none when too many were wrong.
    """
    if spec.startswith("softhsm:"):
        token = _softhsm(spec, state, make, by)
    else:
        token = _named(spec, state, ask, by)
    try:
        yield token
    finally:
        token.close()


def forget_wrong_pins(spec: str, state: Path, *, by: Deadline) -> TokenState:
    """This station's count for the token that the URI names begins anew; needs no PIN."""
    uri = TokenUri.parse(spec, where="the token's URI")
    token = Token(_module_of(uri))
    try:
        found = _meant(token, uri, by)
    finally:
        token.close()
    pin_budget(spec, state).forget(found, "user")
    return found


def _softhsm(spec: str, state: Path | None, make: bool, by: Deadline) -> Token:
    name = spec.removeprefix("softhsm:")
    if name not in _SOFTHSM or state is None:
        expected = "one of " + ", ".join(f"softhsm:{known}" for known in _SOFTHSM)
        raise BadInput(where="the CA's settings", key="token", value=spec, expected=expected)
    directory, label = _SOFTHSM[name]
    return softhsm_token(state / directory, label, make=make, by=by)


def _named(spec: str, state: Path | None, ask: PinAsker, by: Deadline) -> Token:
    uri = TokenUri.parse(spec, where="the token's URI")
    given: list[Secret] = []

    def pin() -> Secret:
        """From its file each time; a person is asked once, and may be gone when it is needed."""
        if uri.pin_source is not None:
            return _pin_in(uri.pin_source)
        if not given:
            given.append(ask(uri.token))
        return given[0]

    session = TokenSession(
        _module_of(uri),
        lambda token, by: _meant(token, uri, by),
        pin,
        budget=None if state is None else pin_budget(spec, state),
    )
    return session.open(by=by)


def check_module(module: Path) -> None:
    """Raises Misuse for a PKCS#11 module that is not there, or that others could have changed: it
    gets PINs."""
    if not module.is_file():
        raise Misuse(f"there is no PKCS#11 module {module}")
    if why := distrust(module.stat()):
        raise Misuse(f"the PKCS#11 module {module} is not loaded: {why}")


def _module_of(uri: TokenUri) -> TokenProcess:
    check_module(uri.module)
    # An HSM's module finds its way by its maker's variables: it gets all, as in any program.
    return TokenProcess(str(uri.module), environment=dict(os.environ))


def _meant(token: Token, uri: TokenUri, by: Deadline) -> TokenState:
    """The one token that is all that the URI says of it."""
    found = [state for state in token.slots(by=by) if uri.means(state)]
    if not found:
        raise DeviceRefused(
            f"{uri.module} shows no token as the URI names it (label {uri.token})",
            hint="Is it plugged in? Its maker's tool, or pkcs11-tool -L, shows what is there.",
        )
    if len(found) > 1:
        serials = ", ".join(sorted(state.serial for state in found))
        raise DeviceRefused(
            f"{uri.module} shows {len(found)} tokens as the URI names it (label {uri.token})",
            hint=f"Put serial=... into the URI; there are {serials}.",
        )
    return found[0]


def pin_budget(spec: str, state: Path) -> PinBudget:
    """The counts of wrong PINs of the station in ``state``, for the token that the URI names."""
    again = f"trustbox keys pin forget-failures --hsm {shlex.quote(spec)}"
    return PinBudget(state / "pins" / "budget", again=again)


def _pin_in(source: Path) -> Secret:
    pin = read_private(source).removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(pin) <= 128 or b"\n" in pin:
        expected = "one line with the PIN, 128 octets at most"
        raise BadInput(where=str(source), key="the file", value="(hidden)", expected=expected)
    return Secret(pin)
