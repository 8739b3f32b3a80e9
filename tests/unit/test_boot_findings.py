"""Findings in a boot's log: each is named, explained and quoted."""

from __future__ import annotations

import pytest

from harness.boot_findings import Weight, findings
from harness.boot_stages import boots
from tests.unit.boot_logs import EDGE_SECURE, EDGE_UNFUSED, EDGEXL, EMULATED_SECURE, timed


def _names(text: str) -> list[str]:
    return [found.name for found in findings(timed(text))]


def test_an_unfused_box_is_seen_by_its_log() -> None:
    found = findings(timed(EDGE_UNFUSED))

    assert [f.name for f in found] == [
        "hab-disabled",
        "ssm-not-secure",
        "security-state",
        "test-identity",
    ]
    assert {f.weight for f in found} == {Weight.INSECURE}
    assert found[-1].line == "Continuing with non-secret testing identity"
    assert "never enrol" in found[-1].meaning


def test_a_boot_without_trouble_has_no_findings() -> None:
    assert findings(timed(EDGEXL)) == ()


@pytest.mark.case(
    "N-45",
    expect="a halt that was heard is told with the image's error. The halt itself was not tried: it"
    " wants a fused box, and the emulator's U-Boot checks no kernel",
)
def test_a_halt_in_u_boot_is_found_with_its_reason() -> None:
    (boot,) = boots(timed(EDGE_SECURE))

    assert [(f.name, f.weight) for f in boot.findings] == [
        ("esbc-validate", Weight.STOPS),
        ("esbc-halt", Weight.STOPS),
    ]


def test_a_test_build_of_op_tee_is_noticed() -> None:
    assert [f.name for f in findings(EMULATED_SECURE)] == ["optee-insecure-build"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ERROR:   BL2: Failed to load image id 21 (-80)", "tfa-authentication"),
        ("ERROR:   BL1: Failed to load image 1 (-80)", "tfa-authentication"),
        ("ERROR:   BL2: Failed to load image id 5 (-2)", "tfa-load"),
        ("ERROR:   Failed to load BL2 firmware.", "tfa-load"),
        ("E/TC:0 0 Panic at core/kernel/x.c:10 <f>", "optee-panic"),
        ("E/TC:0 0 assertion 'n' failed at core/x.c:1 <f>", "optee-panic"),
        ('## Error: "bootcmd" not defined', "uboot-error"),
        ("*** Warning - bad CRC, using default environment", "default-environment"),
        ("Boot Mode is Non-Secure. Not entering spin loop.", "esbc-not-halted"),
        ("ERROR :: 40 :: Bad signature", "esbc-validate"),
        ("PANIC at PC : 0x00000000e000", "el3-panic"),
        ("[    1.2] Kernel panic - not syncing: VFS", "kernel-panic"),
    ],
)
def test_each_sign_of_trouble_has_its_name(line: str, name: str) -> None:
    assert _names(f"NOTICE:  BL31: v2.12\n{line}") == [name]


@pytest.mark.parametrize(
    "line",
    [
        "E/TC:0 TA panicked with code 0xffff0007",
        "E/LD:  ldelf panicked",
        "INFO:    BL2: Loading image id 21",
        "panic=10 on the kernel command line",
    ],
)
def test_what_only_resembles_trouble_is_none(line: str) -> None:
    assert _names(line) == []


def test_a_finding_that_repeats_is_one_with_a_count() -> None:
    (found,) = findings(timed("## Error: a\n## Error: b\n" * 500))

    assert found.count == 1000
    assert found.line == "## Error: a"


def test_a_quote_is_bounded_and_drives_no_terminal() -> None:
    (found,) = findings(timed("Security state failure \x1b]0;x\x07" + "A" * 9000))

    assert len(found.line) <= 200
    assert found.line.isprintable()
