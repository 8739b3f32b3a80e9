"""A small part of what ``make test-bench`` runs, by what runs it: the whole takes too long here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PART = "TestOverTheUart and streams or test_power_makes or test_two_boxes"


def test_device_tests_run_on_a_bench_behind_a_serial_server() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "rfc2217", "--", "-k", PART]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"passed  rfc2217   3 passed, 0 failed, 1 skipped  \(", said[-2]), said[-2]
    assert any("SKIPPED" in line and "lacks more-boxes" in line for line in said)
