"""The golden measurement covers the core's code and read-only data, and nothing else."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from emulator.golden import tee_memory_sha256
from harness.errors import BuildFailed

CORE = """
        .section .text
        .globl __text_start, __text_data_start, __text_data_end, __text_end
__text_start:       .ascii "code before "
__text_data_start:  .ascii "data that changes "
__text_data_end:    .ascii "code after "
__text_end:         .ascii "padding"
        .section .rodata
        .globl __rodata_start, __rodata_end
__rodata_start:     .ascii "constants"
__rodata_end:       .ascii "more padding"
        .data
        .ascii "variables"
"""


def linked(tmp_path: Path, assembly: str) -> Path:
    (tmp_path / "core.s").write_text(assembly)
    elf = tmp_path / "tee.elf"
    subprocess.run(
        ["gcc", "-nostdlib", "-static", "-Wl,-e,0", "-o", elf, tmp_path / "core.s"], check=True
    )
    return elf


def test_code_around_embedded_data_then_constants_are_measured(tmp_path: Path) -> None:
    elf = linked(tmp_path, CORE)

    assert tee_memory_sha256(elf) == hashlib.sha256(b"code before code after constants").digest()


def test_a_change_of_data_changes_no_measurement_but_one_of_code_does(tmp_path: Path) -> None:
    golden = tee_memory_sha256(linked(tmp_path, CORE))
    data = tee_memory_sha256(linked(tmp_path, CORE.replace("that changes", "that CHANGES")))
    code = tee_memory_sha256(linked(tmp_path, CORE.replace("code after", "code AFTER")))

    assert data == golden
    assert code != golden


def test_a_core_without_the_symbols_has_no_golden_measurement(tmp_path: Path) -> None:
    elf = linked(tmp_path, CORE.replace("__rodata_end", "__elsewhere"))

    with pytest.raises(BuildFailed, match="no symbol __rodata_end"):
        tee_memory_sha256(elf)
