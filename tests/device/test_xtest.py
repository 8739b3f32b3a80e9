"""OP-TEE's xtest on the box: a quick sample of what ``make xtest`` runs, and that this is all."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from provisioning.trustbox import TrustBox
from tests.xtest.listing import committed, on
from tests.xtest.running import only, run

pytestmark = pytest.mark.needs(Capability.XTEST, Capability.TA_LOAD)


@pytest.mark.needs(Capability.RESTORE)
@pytest.mark.parametrize("case", ["regression_1002", "regression_1004", "pkcs11_1000"])
def test_a_case_passes_alone(case: str, module_box: TrustBox, by: Deadline) -> None:
    target = module_box.target
    result = run(target.shell, target.layout, *only(case, committed()), by=by)

    assert dict(result.cases) == {case: True}
    assert result.subtests_failed == 0


def test_the_committed_list_is_what_the_program_on_the_box_has(
    target: Target, by: Deadline
) -> None:
    assert on(target.shell, target.layout, by=by) == committed()
