"""A token in SoftHSM2, for a factory that has no HSM: state in one private directory.

The same Token API drives a real HSM: give its module's path instead.
"""

from __future__ import annotations

from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse, TokenRefused
from provisioning.file_trouble import no_room
from provisioning.locks import locked
from provisioning.pins import Pins
from provisioning.private_files import private_directory, write_durably
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_session import TokenSession
from provisioning.token_state import TokenState

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def softhsm_module() -> str:
    """Raises Misuse, naming what to install, when SoftHSM2 is not on this machine."""
    for place in _MODULES:
        if Path(place).is_file():
            return place
    raise Misuse(
        "SoftHSM2 is not on this machine, and it keeps the factory's CA key",
        hint="Install Debian's package softhsm2.",
    )


def softhsm_token(state: Path, label: str, *, make: bool = True, by: Deadline) -> Token:
    """The labelled token below ``state``, logged in.

    ``make``: with new random PINs where there is none yet. A token whose PINs are lost is not made
    anew, and PINs are not either: the keys in it would be out of reach for good. Raises Misuse.
    """
    module = softhsm_module()
    tokens, pins = state / "tokens", state / "pins.toml"
    there = any(tokens.glob("*"))
    if there and not pins.exists():
        raise Misuse(
            f"{pins} is lost: the PINs of the SoftHSM2 token in {state}",
            hint="Bring it back from the backup: nobody can log in without it, and nothing was"
            " changed.",
        )
    if not there and not make:
        raise Misuse(
            f"the SoftHSM2 token {label} is not there: {state} has none",
            hint="If there was one, bring back that directory from the backup: another key would be"
            " another CA. A new station's is made by trustbox ca init, or keys factory-secret.",
        )
    private_directory(private_directory(state) / "tokens")
    configuration = state / "softhsm2.conf"
    with locked(state / "lock", "the lock on the factory's token", by=by):
        said = f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        text = said.encode()
        if not configuration.is_file() or configuration.read_bytes() != text:
            write_durably(configuration, text)
        process = TokenProcess(module, environment={"SOFTHSM2_CONF": str(configuration)})
        try:
            token = Token(process)
            known = Pins.read(pins) if pins.exists() else Pins.make(pins)
            found = token.labelled(label, by=by)
            if found is None or not found.has_user_pin:
                if not make:
                    raise Misuse(f"SoftHSM2 shows no token {label} in {state}")
                token.initialise(label, so_pin=known.so, user_pin=known.user, by=by)
            session = TokenSession(
                process,
                lambda token, by: _there(token, label, by),
                lambda: Pins.read(pins).user,
            )
            return session.open(by=by)
        except BaseException as problem:
            process.close()
            if isinstance(problem, TokenRefused) and (full := no_room(tokens)):
                raise full from problem  # SoftHSM2 answers CKR_DEVICE_ERROR, which says nothing
            raise


def _there(token: Token, label: str, by: Deadline) -> TokenState:
    found = token.labelled(label, by=by)
    if found is None:  # nor is it made anew: the keys that it held are what matters
        raise DeviceRefused(f"SoftHSM2 has no token labelled {label} any more")
    return found
