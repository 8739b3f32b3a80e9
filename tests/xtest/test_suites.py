"""OP-TEE's own test suites on the box, one item per case.

A case that hangs runs into its deadline, one that panics the TEE ends with BoxDied: it fails alone,
with the secure world's log in its report, and the next one has a restored box.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from provisioning.trustbox import TrustBox
from tests.xtest.known import CASE_SECONDS, FAILS, SLOW, SLOW_SECONDS
from tests.xtest.listing import committed
from tests.xtest.running import only, run

pytestmark = [
    pytest.mark.xtest,
    pytest.mark.needs(Capability.XTEST, Capability.TA_LOAD, Capability.RESTORE),
    pytest.mark.timeout(SLOW_SECONDS + 120),
]


def items() -> list[object]:
    def marks(case: str) -> list[pytest.MarkDecorator]:
        found = [pytest.mark.slow] if case in SLOW else []
        known = FAILS.get(case)
        return [*found, pytest.mark.xfail(reason=known, strict=True)] if known else found

    return [pytest.param(case, marks=marks(case), id=case) for case in committed()]


@pytest.mark.parametrize("case", items())
def test_case(case: str, module_box: TrustBox, record_property: Callable[..., None]) -> None:
    record_property("xtest", case)
    target = module_box.target
    by = Deadline.after(SLOW_SECONDS if case in SLOW else CASE_SECONDS)
    result = run(target.shell, target.layout, *only(case, committed()), by=by)
    record_property("subtests", result.subtests)
    if result.failed:
        record_property("why", "; ".join(result.reasons)[:600])

    assert list(result.cases) == [case]
    assert result.failed == [], "\n".join(result.reasons)
