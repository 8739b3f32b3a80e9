"""Secure-boot state of a Layerscape: security monitor and fuse processor, decoded. Pure.

Sources: NXP community threads named in device-facts 1.7; masks of OP-TEE core/drivers/ls_sfp.c and
ls_sec_mon.c. A register that was not read is None, and whatever follows from it is None: absent is
never good. A value that means nothing known is a finding, never a state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

_E = TypeVar("_E", bound=Enum)


class Register(Enum):
    """The registers; the value is the name in NXP's manuals."""

    HPSR = "SEC_MON_HPSR"
    SCRATCHRW2 = "DCFG_SCRATCHRW2"
    SVHESR = "SFP_SVHESR"
    OSPR = "SFP_OSPR"
    OSPR1 = "SFP_OSPR1"


class Ssm(Enum):
    """State of the security monitor: HPSR bits 11:8."""

    INIT = 0x0
    HARD_FAIL = 0x1
    SOFT_FAIL = 0x3
    INIT_INTERMEDIATE = 0x8
    CHECK = 0x9
    NON_SECURE = 0xB
    TRUSTED = 0xD
    SECURE = 0xF


class Debug(Enum):
    """What a debugger may do: OSPR1 bits 2:0."""

    OPEN = 0
    CLOSED_NOTIFY = 1
    CLOSED_SILENT = 2
    CLOSED = 4


_OTPMK_ZERO = 1 << 27
_RESERVED = 0x760000FF
"""Bits of HPSR that were 0 in every value seen: with a wrong byte order they are not."""
_ITS = 0x4
_WP = 0x1


@dataclass(frozen=True, slots=True)
class BootState:
    """What the registers say; None where nothing was read, or nothing known is said.

    ``its`` (intent to secure): the fuse that makes the boot ROM verify. ``write_protected``: fuses
    can no longer be blown. ``findings`` are sentences for people, the worst first.
    """

    soc: str | None
    source: str
    registers: Mapping[Register, int | None]
    ssm: Ssm | None
    otpmk_fused: bool | None
    otpmk_syndrome: int | None
    isbc_error: int | None
    fuse_errors: int | None
    its: bool | None
    write_protected: bool | None
    debug: Debug | None
    findings: tuple[str, ...]

    @property
    def absent(self) -> bool:
        """Nothing could be read at all."""
        return all(value is None for value in self.registers.values())

    @property
    def secure(self) -> bool | None:
        """The box verified its boot, and nobody can make it do otherwise: trusted or secure state,
        no error, OTPMK whole, ITS fused, debug closed (device-facts 7(a)).

        False as soon as one of them is known to be wrong; None: none is, and one is not known.
        """
        known = (
            None if self.ssm is None else self.ssm in (Ssm.TRUSTED, Ssm.SECURE),
            None if self.isbc_error is None else not self.isbc_error,
            self.otpmk_fused,
            None if self.otpmk_syndrome is None else not self.otpmk_syndrome,
            self.its,
            None if self.debug is None else self.debug is Debug.CLOSED,
        )
        if False in known:
            return False
        return None if None in known else True

    def to_dict(self) -> dict[str, object]:
        """For JSON; registers as hexadecimal text, absent ones null."""
        return {
            "soc": self.soc,
            "source": self.source,
            "absent": self.absent,
            "secure": self.secure,
            "ssm": self.ssm.name.lower() if self.ssm else None,
            "otpmk_fused": self.otpmk_fused,
            "otpmk_syndrome": self.otpmk_syndrome,
            "isbc_error": self.isbc_error,
            "fuse_errors": self.fuse_errors,
            "its": self.its,
            "write_protected": self.write_protected,
            "debug": self.debug.name.lower() if self.debug else None,
            "registers": {
                register.value: None if value is None else f"0x{value:08x}"
                for register, value in self.registers.items()
            },
            "findings": list(self.findings),
        }


def decode(
    values: Mapping[Register, int], *, soc: str | None, source: str, why_absent: str = ""
) -> BootState:
    """The state that 32-bit ``values`` mean, in the registers' own bit order.

    ``source`` says who read them; ``why_absent`` becomes the finding when none was read. Raises
    ValueError for a value that has no 32 bits.
    """
    for register, value in values.items():
        if not 0 <= value < 1 << 32:
            raise ValueError(f"{register.value} cannot be {value:#x}")
    hpsr, ospr = values.get(Register.HPSR), values.get(Register.OSPR)
    ospr1 = values.get(Register.OSPR1)
    state = BootState(
        soc=soc,
        source=source,
        registers={register: values.get(register) for register in Register},
        ssm=None if hpsr is None else _member(Ssm, hpsr >> 8 & 0xF),
        otpmk_fused=None if hpsr is None else not hpsr & _OTPMK_ZERO,
        otpmk_syndrome=None if hpsr is None else hpsr >> 16 & 0x1FF,
        isbc_error=values.get(Register.SCRATCHRW2),
        fuse_errors=values.get(Register.SVHESR),
        its=None if ospr is None else bool(ospr & _ITS),
        write_protected=None if ospr is None else bool(ospr & _WP),
        debug=None if ospr1 is None else _member(Debug, ospr1 & 0x7),
        findings=(),
    )
    return replace(state, findings=tuple(_findings(state, why_absent)))


def plausible_hpsr(value: int) -> bool:
    """Whether HPSR can have this value once a boot loader runs: tells its byte order."""
    state = _member(Ssm, value >> 8 & 0xF)
    return not value & _RESERVED and state is not None and state is not Ssm.INIT


def _findings(state: BootState, why_absent: str) -> Iterator[str]:
    if state.absent:
        yield f"secure-boot state is absent: {why_absent or 'no register was read'}"
        return
    missing = [register.value for register, value in state.registers.items() if value is None]
    if missing:
        yield f"not read: {', '.join(missing)}"
    yield from _monitor(state)
    if state.isbc_error:
        yield f"the boot ROM refused an image: ISBC error 0x{state.isbc_error:x}"
    if state.fuse_errors:
        yield f"fuses read with errors: SVHESR 0x{state.fuse_errors:x}"
    if state.its is False:
        yield "ITS is not fused: the boot ROM does not insist on a signed image"
    if state.debug is Debug.OPEN:
        yield "debug is open: JTAG reads and writes everything"
    if state.debug in (Debug.CLOSED_NOTIFY, Debug.CLOSED_SILENT):
        yield "debug is closed on condition only: who has the response key opens JTAG"
    if state.debug is None and state.registers[Register.OSPR1] is not None:
        yield "the debug level in OSPR1 is none that is known"
    if state.write_protected is False:
        yield "the fuses can still be blown"


def _monitor(state: BootState) -> Iterator[str]:
    if state.registers[Register.HPSR] is None:
        return
    if state.ssm is None:
        yield "the security monitor's state is none that is known"
    elif state.ssm in (Ssm.HARD_FAIL, Ssm.SOFT_FAIL):
        yield f"the security monitor saw a violation: state {state.ssm.name}"
    elif state.ssm not in (Ssm.TRUSTED, Ssm.SECURE):
        yield f"the boot was not verified: security monitor in state {state.ssm.name}"
    if state.otpmk_fused is False:
        yield "OTPMK not fused: keys derived from it are the same on every such box"
    if state.otpmk_syndrome:
        yield f"OTPMK is damaged: syndrome 0x{state.otpmk_syndrome:x}"


def _member(kind: type[_E], value: int) -> _E | None:
    return next((member for member in kind if member.value == value), None)
