"""The golden measurement of OP-TEE's core, computed from its ELF file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import BuildFailed

# What the attestation PTA's HASH_TEE_MEMORY covers (core/pta/attestation.c, cmd_hash_tee_memory):
# the code around the data that is embedded in .text, then the read-only data.
_SPANS = (
    ("__text_start", "__text_data_start"),
    ("__text_data_end", "__text_end"),
    ("__rodata_start", "__rodata_end"),
)


def tee_memory_sha256(elf_file: Path) -> bytes:
    """SHA-256 of the core's code and read-only data as HASH_TEE_MEMORY must report it (32 bytes).

    Raises BuildFailed when the file lacks a symbol or a byte that the measurement covers.
    """
    digest = hashlib.sha256()
    with elf_file.open("rb") as stream:
        elf = ELFFile(stream)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise BuildFailed("golden measurement", f"{elf_file.name} has no symbols")
        for start, end in _SPANS:
            digest.update(_bytes(elf, _address(table, start), _address(table, end)))
    return digest.digest()


def _address(table: SymbolTableSection, name: str) -> int:
    found = table.get_symbol_by_name(name)
    if not found:
        raise BuildFailed("golden measurement", f"tee.elf has no symbol {name}")
    return int(found[0]["st_value"])


def _bytes(elf: ELFFile, start: int, end: int) -> bytes:
    for segment in elf.iter_segments("PT_LOAD"):
        address, size = int(segment["p_vaddr"]), int(segment["p_filesz"])
        if address <= start <= end <= address + size:
            return bytes(segment.data()[start - address : end - address])
    raise BuildFailed("golden measurement", f"tee.elf has no bytes for {start:#x}-{end:#x}")
