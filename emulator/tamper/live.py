"""``harness.tamper.Tamper`` for an emulated box that this process holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from emulator.tamper.caught import PAGE, Core, caught
from emulator.tamper.core_elf import SPARE, core_elf
from harness.deadline import Deadline
from harness.errors import RigError
from harness.tamper import Change, CorePart

if TYPE_CHECKING:
    from emulator.rig import EmulatorRig

_BACK_SECONDS = 60.0


class LiveTamper:
    """Implements ``Tamper``. Not for two threads at once."""

    def __init__(self, rig: EmulatorRig) -> None:
        self._rig = rig

    @contextlib.contextmanager
    def core(
        self, part: CorePart, *, busy: Callable[[], object], by: Deadline, at: int = 0
    ) -> Iterator[Change]:
        with self._caught(busy, by) as core:
            start, size = core.address(SPARE[part])
            byte, bit = divmod(at % (size * 8), 8)
            what = f"bit {bit} of byte {byte} of {SPARE[part]} in OP-TEE's .{part.value}"
            change = _flip(core, [start + byte], bit, what, by)
        yield change
        self._back(change, busy)

    @contextlib.contextmanager
    def enclave(
        self, page: bytes, bit: int, *, busy: Callable[[], object], by: Deadline
    ) -> Iterator[Change]:
        with self._caught(busy, by) as core:
            copies = core.pages(page, by=by)
            if not copies:
                raise RigError("no loaded enclave has that page in memory")
            byte, of = divmod(bit % (PAGE * 8), 8)
            what = f"bit {of} of byte {byte} of an enclave's page"
            change = _flip(core, [address + byte for address in copies], of, what, by)
        yield change
        self._back(change, busy)

    @contextlib.contextmanager
    def _caught(self, busy: Callable[[], object], by: Deadline) -> Iterator[Core]:
        rig = self._rig
        elf = core_elf(rig.box.image.tee_elf)
        with caught(rig.monitor, elf, rig.directory, busy=busy, by=by) as core:
            yield core

    def _back(self, change: Change, busy: Callable[[], object]) -> None:
        by = Deadline.after(_BACK_SECONDS)
        with self._caught(busy, by) as core:
            for address in change.addresses:
                if core.stub.read(address, 1, by=by)[0] != change.after:
                    raise RigError(f"{change.what} was overwritten meanwhile")
                core.stub.write(address, bytes([change.before]), by=by)


def _flip(core: Core, addresses: Sequence[int], bit: int, what: str, by: Deadline) -> Change:
    before = core.stub.read(addresses[0], 1, by=by)[0]
    after = before ^ 1 << bit
    for address in addresses:
        core.stub.write(address, bytes([after]), by=by)
        if core.stub.read(address, 1, by=by)[0] != after:
            raise RigError(f"{what} cannot be changed")
    return Change(what, tuple(addresses), before, after)
