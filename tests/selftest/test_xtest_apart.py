"""A case of xtest that hangs or panics the TEE fails alone, and is the one that the report names.

The real program on a real OP-TEE. In the middle of one case the machine is stopped, as a TEE that
hangs would stop it; in the middle of another somebody loads an enclave that makes OP-TEE's core
panic (N-10 of docs/security-cases.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

HOUSE = Path(__file__).resolve().parents[2]
SUITES = HOUSE / "tests" / "xtest" / "test_suites.py"
HANGS, PANICS, PASSES = "regression_1006", "regression_1013", "regression_1002"
TROUBLE = f"""
import threading

import pytest

import tests.xtest.test_suites as suites
from harness.deadline import Deadline
from harness.errors import TrustBoxError
from provisioning.sample_enclave import SAMPLE
from tests.device.enclaves import before_the_payload, put, refusal, sealed_for
from tests.device.sample import flipped

WAIT = 'until pidof xtest >/dev/null; do :; done; cat /proc/sys/kernel/random/boot_id'
suites.SLOW_SECONDS = 12.0


def hang(target):
    target.rig.monitor.execute("stop", by=Deadline.after(10))


def panic(target):
    sealed, by = sealed_for(target), Deadline.after(60)
    put(target, SAMPLE, flipped(sealed, before_the_payload(sealed) - 28 - 8 + 1), by)
    try:
        refusal(target, SAMPLE, by)
    except TrustBoxError as problem:
        print("the trouble-maker saw:", type(problem).__name__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    trouble = {{"{HANGS}": hang, "{PANICS}": panic}}.get(item.callspec.params["case"])
    if trouble is None:
        return (yield)
    target = item.funcargs["module_box"].target
    if trouble is panic:
        suites.SLOW_SECONDS = 120.0
        sealed_for(target)  # built before the case begins

    def in_the_middle():
        target.shell.run("sh", "-c", WAIT, by=Deadline.after(60))
        trouble(target)

    beside = threading.Thread(target=in_the_middle)
    beside.start()
    try:
        return (yield)
    finally:
        beside.join(60)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest said of three cases, two of which met with trouble."""
    directory = tmp_path_factory.mktemp("xtest")
    (directory / "trouble.py").write_text(TROUBLE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "trouble", "-p", "no:randomly", "-m", "xtest"),
            *("-p", "no:cacheprovider", "-v", "-rA", "--tb=short"),
            *(f"{SUITES}::test_case[{case}]" for case in (HANGS, PANICS, PASSES)),
        ],
        cwd=HOUSE,
        env={**os.environ, "PYTHONPATH": f"{HOUSE}:{directory}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    return done.stdout + done.stderr


def test_a_case_that_hangs_ends_at_its_deadline_and_is_named(report: str) -> None:
    assert f"FAILED tests/xtest/test_suites.py::test_case[{HANGS}]" in report
    assert "DeadlineExpired" in report


def test_a_case_in_which_the_tee_panics_is_named_with_what_the_secure_world_said(
    report: str,
) -> None:
    assert f"FAILED tests/xtest/test_suites.py::test_case[{PANICS}]" in report
    assert "BoxDied" in report
    _, _, after = report.partition(f"test_case[{PANICS}] _")
    assert "assertion" in after.partition("secure world UART")[2]


def test_the_next_case_has_a_box_that_works(report: str) -> None:
    assert f"PASSED tests/xtest/test_suites.py::test_case[{PASSES}]" in report
    assert "xtest regression: " in report
