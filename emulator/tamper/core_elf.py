"""What ``tee.elf`` tells about the running core: where it was linked, what may be changed in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import RigError
from harness.tamper import CorePart

MEMORY_MAP = "static_memory_map"
"""OP-TEE core/mm/core_mmu.c: the regions that the core has mapped."""

SPARE = {
    # Runs once, on the way up.
    CorePart.TEXT: "boot_init_primary_late",
    # The version string that the boot log begins with.
    CorePart.RODATA: "core_v_str",
}
"""What a running core does not need: any bit of it may change, and the box goes on."""


@dataclass(frozen=True, slots=True)
class CoreElf:
    """``text`` is what lies from ``text_at`` on when the core is not relocated."""

    text_at: int
    text: bytes
    symbols: dict[str, tuple[int, int]]
    """Address and size of those in SPARE, and of MEMORY_MAP."""

    def load_offset(self, pc: int, code: bytes) -> int | None:
        """How far the core was moved, from the ``code`` at ``pc``; None: that is not core code, or
        code that is there twice."""
        found = self.text.find(code)
        if found < 0 or self.text.find(code, found + 1) >= 0:
            return None
        return pc - (self.text_at + found)


@cache
def core_elf(path: Path) -> CoreElf:
    """Raises RigError when the file lacks what is needed of it."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise RigError(f"{path} has no symbols")

        def symbol(name: str) -> tuple[int, int]:
            found = table.get_symbol_by_name(name)
            if not found:
                raise RigError(f"{path} has no symbol {name}")
            return int(found[0]["st_value"]), int(found[0]["st_size"])

        start, end = symbol("__text_start")[0], symbol("__text_end")[0]
        for segment in elf.iter_segments("PT_LOAD"):
            address = int(segment["p_vaddr"])
            if address <= start and end <= address + int(segment["p_filesz"]):
                text = bytes(segment.data()[start - address : end - address])
                break
        else:
            raise RigError(f"{path} has no bytes for its code")
        names = (*SPARE.values(), MEMORY_MAP)
        return CoreElf(start, text, {name: symbol(name) for name in names})
