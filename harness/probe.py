"""What can this box do? Asked of the box itself, in one pass.

Three answers, and the third is never taken for the second: found; absent, as the box itself says
(no such file, the TEE's own "no such thing"); unknown, with the error that kept it from being told.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import (
    BoxDied,
    DeadlineExpired,
    TeeRefused,
    TrustBoxError,
    UntrustedHost,
)
from harness.helpers import Helpers
from harness.history import History
from harness.holding import Holding
from harness.target import Shell, World
from harness.tee import IMPLEMENTATION_OPTEE, Direction, Memref, TeeClient, TeeResult, connect
from harness.tee_codes import TeeCode
from harness.tee_supplicant import HINT, SUPPLICANTS, NoSupplicant, read_supplicants
from harness.tee_trouble import of_storage, of_token, says_no

ATTESTATION_PTA = UUID("39800861-182a-4720-9b67-2bcd622bc0b5")
STATS_PTA = UUID("d96a5b40-e2c7-b1af-8794-1002a5d5c61b")
PKCS11_TA = UUID("fd02c9da-306c-48c7-a49c-bbd827ae86ee")
ZERO_HUK_TEE = b"94e9ab89-4c43-56ea-8b35-45dc07226830"
"""The TEE UUID that a hardware unique key of zeros gives (OP-TEE core/tee/tee_svc.c)."""
STEP_SECONDS = 10.0

# One command, because starting one is what costs. Words are printed for what is there.
TOOLS = (
    f"""{SUPPLICANTS}
supplicants
"""
    + """
test -c "$1" && echo tee-device
test -f "$2" && echo module
test -x "$3" && echo p11-kit
command -v openssl >/dev/null && echo openssl
for library in /usr/lib/*/libteec.so* /usr/lib/libteec.so*; do
  [ -f "$library" ] && [ ! -h "$library" ] && set -- "$@" "$library"
done
[ $# -gt 6 ] && (shift 6; exec grep -qs TEEC_ReceiveReplyGenericRpc "$@") && echo oe-rpc
test -x "$4" && test -d "$5" && echo xtest
for rpmb in /dev/mmcblk*rpmb /sys/class/rpmb/*; do [ -e "$rpmb" ] && echo rpmb && break; done
for file in /sys/class/tee/tee*/rpmb_routing_model; do
  { read -r model <"$file"; } 2>/dev/null && [ "$model" = kernel ] && echo rpmb-kernel && break
done
test -f "$6" && echo softhsm
exit 0
"""
)

# OP-TEE ta/pkcs11/include/pkcs11_ta.h: parameter 0 takes the arguments and gives the CKR code,
# parameter 2 gives the answer.
PKCS11_SLOT_LIST, PKCS11_SLOT_INFO = 1, 2
SLOT_INFO_SIZE = 64 + 32 + 4 + 2 + 2
TEE_UUID = re.compile(rb"TEE UUID ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


OF_THE_TEE = (Capability.TEE, Capability.ATTESTATION, Capability.TEE_STATS)
OF_ITS_STORAGE = (
    Capability.TA_LOAD,
    Capability.PKCS11,
    Capability.PKCS11_REMOTE,
    Capability.OWN_HUK,
)
"""Told by calls for which the TEE needs its supplicant and looks into its storage."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found, and what could not be told, each with the error. The rest is absent."""

    found: frozenset[Capability]
    unknown: Mapping[Capability, TrustBoxError]


class _Telling:
    """What came out so far."""

    def __init__(self, found: set[Capability], name: str) -> None:
        self.found = found
        self.unknown: dict[Capability, TrustBoxError] = {}
        self._log = logging.getLogger(f"harness.probe.{name}")

    @contextmanager
    def about(self, what: str, *capabilities: Capability) -> Iterator[None]:
        """A step that fails leaves ``capabilities`` absent when the box itself says no, and
        unknown otherwise."""
        try:
            yield
        except (BoxDied, UntrustedHost):
            raise
        except TrustBoxError as problem:
            self._log.debug("%s cannot be had: %s", what, problem.message)
            if not says_no(problem):
                self.not_known(problem, *capabilities)

    def not_known(self, problem: TrustBoxError, *capabilities: Capability) -> None:
        for capability in capabilities:
            if capability not in self.found:
                self.unknown.setdefault(capability, problem)

    def probed(self) -> Probed:
        return Probed(frozenset(self.found), dict(self.unknown))


def probe(
    shell: Shell, helpers: Helpers, holding: Holding, history: History, *, by: Deadline
) -> Probed:
    """The box's capabilities, together with what its rig says it can do.

    Raises only what makes the box useless: BoxDied, UntrustedHost, and LinkError and its like in
    the first command.
    """
    found = set(holding.rig_capabilities) | {Capability.STREAMS}
    layout, firmware = holding.layout, holding.firmware
    paths = (layout.tee_device, layout.pkcs11_module, layout.p11_kit, layout.xtest)
    asked = ("sh", "-c", TOOLS, "probe", *paths, layout.xtest_tas, layout.softhsm_module)
    said = shell.run(*asked, by=by).text
    tools = set(said.split())
    if "openssl" in tools:
        found.add(Capability.OPENSSL)
    if "oe-rpc" in tools:
        found.add(Capability.OE_HOST_RPC)
    if "xtest" in tools:
        found.add(Capability.XTEST)
    # The kernel routes to RPMB only when OP-TEE asked it to (drivers/tee/optee/core.c); with the
    # supplicant in between nobody tells whether the TEE uses it.
    if {"rpmb", "rpmb-kernel"} <= tools:
        found.add(Capability.STORAGE_ROLLBACK_PROTECTED)
    if {"softhsm", "p11-kit"} <= tools:
        found.add(Capability.SOFTHSM)
    if World.SECURE in holding.consoles:
        found.add(Capability.SECURE_CONSOLE)
    if holding.console_login is not None and World.NORMAL in holding.consoles:
        found.add(Capability.CONSOLE_LOGIN)
    if firmware.devkit is not None and firmware.ta_signing_key is not None:
        found.add(Capability.TA_DEVKIT)
    if firmware.ta_encryption_key is not None:
        found.add(Capability.TA_ENCRYPTION)
    if firmware.golden_tee is not None:
        found.add(Capability.GOLDEN)
    name = holding.vitals.target
    telling = _Telling(found, name)
    of_the_tee = (*OF_THE_TEE, *OF_ITS_STORAGE) if "tee-device" in tools else ()
    with (
        telling.about("the helper", Capability.AGENT, *of_the_tee),
        connect(helpers.held(by=by), history, name) as client,
    ):
        found.add(Capability.AGENT)
        if "tee-device" in tools:
            _probe_tee(client, telling, said, by)
    if Capability.PKCS11 in found and "p11-kit" in tools:
        found.add(Capability.PKCS11_REMOTE)
    return telling.probed()


def _probe_tee(client: TeeClient, telling: _Telling, said: str, by: Deadline) -> None:
    found = telling.found
    with telling.about("the TEE", *OF_THE_TEE, *OF_ITS_STORAGE):
        if client.version(by=by.sooner(STEP_SECONDS)).implementation != IMPLEMENTATION_OPTEE:
            return
        found.add(Capability.TEE)
    if Capability.TEE not in found:
        return
    with telling.about("the attestation PTA", Capability.ATTESTATION):
        client.open_session(ATTESTATION_PTA, by=by.sooner(STEP_SECONDS)).close()
        found.add(Capability.ATTESTATION)
    with telling.about("the stats PTA", Capability.TEE_STATS):
        client.open_session(STATS_PTA, by=by.sooner(STEP_SECONDS)).close()
        found.add(Capability.TEE_STATS)
    # Without a supplicant every one of the next calls waits for one.
    if (nobody := read_supplicants(said).trouble()) is not None:
        telling.not_known(nobody, *OF_ITS_STORAGE)
        return
    with telling.about("TA loading", *OF_ITS_STORAGE):
        _probe_loading(client, found, by.sooner(STEP_SECONDS))
    if Capability.PKCS11 in telling.unknown:  # its token cannot be told from a blank one
        return
    with telling.about("the PKCS#11 TA", *OF_ITS_STORAGE[1:]):
        _probe_token(client, found, "module" in said.split(), by.sooner(STEP_SECONDS))


def _probe_loading(client: TeeClient, found: set[Capability], by: Deadline) -> None:
    """A TA that cannot exist is looked for: first in the storage, then among the TAs' files."""
    began = by.left("the TEE")
    try:
        client.open_session(uuid4(), by=by).close()
    except TeeRefused as refused:
        if refused.code == TeeCode.ITEM_NOT_FOUND:
            found.add(Capability.TA_LOAD)
        else:
            raise of_storage(refused) from refused
    except DeadlineExpired as late:
        raise NoSupplicant(
            f"nothing answers the TEE's requests on the box: its tee-supplicant runs, and the TEE"
            f" had no answer within {began:.0f} s",
            hint=HINT,
        ) from late


def _probe_token(client: TeeClient, found: set[Capability], module: bool, by: Deadline) -> None:
    try:
        opened = client.open_session(PKCS11_TA, by=by)
    except TeeRefused as refused:
        raise of_token(refused) from refused
    with opened as session:
        control = Memref(bytes(4), Direction.INOUT)
        room = Memref(64, Direction.OUT)
        slots = session.invoke(PKCS11_SLOT_LIST, control, None, room, by=by)
        first = _answer(slots.check("listing the PKCS#11 slots"))[:4]
        if module and len(first) == 4:
            found.add(Capability.PKCS11)
        about = session.invoke(
            PKCS11_SLOT_INFO,
            Memref(first, Direction.INOUT),
            None,
            Memref(SLOT_INFO_SIZE, Direction.OUT),
            by=by,
        )
        tells = TEE_UUID.search(_answer(about.check("describing a PKCS#11 slot")))
        if tells and tells[1] != ZERO_HUK_TEE:
            found.add(Capability.OWN_HUK)


def _answer(result: TeeResult) -> bytes:
    """Parameter 2 of a PKCS#11 TA call that went well; nothing otherwise."""
    control, _, answer, _ = result.params
    if not isinstance(control, Memref) or control.data != bytes(4):
        return b""
    return answer.data if isinstance(answer, Memref) and isinstance(answer.data, bytes) else b""
