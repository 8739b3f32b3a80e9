"""A machine that was stopped while it ran OP-TEE's core: where its memory can be seen."""

from __future__ import annotations

import contextlib
import re
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emulator.qmp import Qmp
from emulator.tamper.core_elf import MEMORY_MAP, CoreElf
from emulator.tamper.gdb_stub import GdbStub, NotMapped, attached
from harness.deadline import Deadline
from harness.errors import RigError

PAGE = 4096
_RUN_SECONDS = (0.03, 0.011, 0.047, 0.019)
"""How long the machine runs between two stops: unlike, not to fall into step with the guest."""
_PC = re.compile(r"\bPC=([0-9a-f]{16})\b")
_SECURE_EL1 = re.compile(r"\bPSTATE=[0-9a-f]{8} \S{4} S +EL1[ht]\b")
_CODE = 64
_REGION = struct.Struct("<IIQQQII")
"""struct tee_mmap_region: type, region size, pa, va, size, attributes (mm/tee_mmu_types.h)."""
_SEC_RAM_OVERALL = 30
"""MEM_AREA_SEC_RAM_OVERALL (mm/core_mmu.h): all secure RAM, that of enclaves too."""
_MOST_REGIONS = 100
_MOST_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Core:
    """The core's memory, as long as the machine stands. ``offset``: how far it was moved (ASLR)."""

    stub: GdbStub
    elf: CoreElf
    offset: int

    def address(self, symbol: str) -> tuple[int, int]:
        """Where a symbol is now, and its size."""
        start, size = self.elf.symbols[symbol]
        return start + self.offset, size

    def pages(self, content: bytes, *, by: Deadline) -> tuple[int, ...]:
        """The addresses at which secure RAM holds this page of an enclave."""
        if len(content) != PAGE:
            raise RigError(f"a page has {PAGE} bytes, not {len(content)}")
        return tuple(
            address
            for start, size in self._ram(by)
            for address in range(start, start + size, PAGE)
            if self._holds(address, content, by)
        )

    def _holds(self, address: int, content: bytes, by: Deadline) -> bool:
        head = content[:_CODE]
        return (
            self.stub.read(address, _CODE, by=by) == head
            and self.stub.read(address, PAGE, by=by) == content
        )

    def _ram(self, by: Deadline) -> list[tuple[int, int]]:
        """Address and size of what the core has mapped of RAM besides itself."""
        where, _ = self.address(MEMORY_MAP)
        count, _, regions = struct.unpack("<QQQ", self.stub.read(where, 24, by=by))
        if not 0 < count <= _MOST_REGIONS:
            raise RigError(f"OP-TEE's memory map cannot have {count} regions")
        table = self.stub.read(regions, count * _REGION.size, by=by)
        found = [
            (va, size)
            for kind, _, _, va, size, _, _ in _REGION.iter_unpack(table)
            if kind == _SEC_RAM_OVERALL
        ]
        if not found or sum(size for _, size in found) > _MOST_MEMORY:
            raise RigError("OP-TEE's memory map does not say where enclaves are")
        return found


@contextlib.contextmanager
def caught(
    qmp: Qmp, elf: CoreElf, directory: Path, *, busy: Callable[[], object], by: Deadline
) -> Iterator[Core]:
    """Stop the machine where the core's memory is mapped; let it run on afterwards.

    ``busy`` keeps the secure world at work meanwhile, in a thread that has ended when this returns.
    """
    with _kept(busy) as (done, problems):
        stops = 0
        while True:
            done.wait(by.slice("the machine to be in OP-TEE", _RUN_SECONDS[stops % 4]))
            if problems:
                raise problems[0]
            stops += 1
            qmp.execute("stop", by=by)
            try:
                registers = qmp.human("info registers", by=by)
                if _SECURE_EL1.search(registers):
                    with attached(qmp, directory, by=by) as stub:
                        core = _core(stub, elf, registers, by)
                        if core is not None:
                            done.set()
                            yield core
                            break
            finally:
                qmp.execute("cont", by=by)


def _core(stub: GdbStub, elf: CoreElf, registers: str, by: Deadline) -> Core | None:
    """None where the core is hardly mapped: on the way to and from an enclave."""
    pc = _PC.search(registers)
    if pc is None:
        raise RigError("QEMU does not say where the processor stands")
    try:
        offset = elf.load_offset(at := int(pc[1], 16), stub.read(at, _CODE, by=by))
        if offset is None:
            return None
        stub.read(elf.symbols[MEMORY_MAP][0] + offset, 8, by=by)
    except NotMapped:
        return None
    return Core(stub, elf, offset)


@contextlib.contextmanager
def _kept(
    busy: Callable[[], object],
) -> Iterator[tuple[threading.Event, list[BaseException]]]:
    """Call ``busy`` over and over until the event is set; what it raised."""
    done = threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        try:
            while not done.is_set():
                busy()
        except BaseException as problem:  # noqa: BLE001 - for who waits to raise
            problems.append(problem)
            done.set()

    worker = threading.Thread(target=work, name="tamper-busy", daemon=True)
    worker.start()
    try:
        yield done, problems
    finally:
        done.set()
        worker.join()
