"""xtest's output, as recorded on an emulated box: read whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xtest.listing import committed
from tests.xtest.output import NotWholeError, parse
from tests.xtest.running import SUITES, only

RECORDED = Path(__file__).parent / "recorded"
PASSED = (RECORDED / "xtest_regression_1004.txt").read_bytes()
FAILED = (RECORDED / "xtest_regression_1039.txt").read_bytes()
END = b"TEE test application done!"


def test_a_case_that_passed() -> None:
    result = parse(PASSED)

    assert dict(result.cases) == {"regression_1004": True}
    assert (result.subtests, result.subtests_failed) == (10, 0)
    assert result.failed == []
    assert result.reasons == ()


def test_a_case_that_failed_says_why() -> None:
    result = parse(FAILED)

    assert result.failed == ["regression_1039"]
    assert (result.subtests, result.subtests_failed) == (2, 2)
    assert "0xffff000f = TEEC_ERROR_SECURITY" in result.reasons[0]


@pytest.mark.parametrize("whole", [PASSED, FAILED], ids=["passed", "failed"])
def test_output_that_breaks_off_anywhere_is_no_result(whole: bytes) -> None:
    for size in range(whole.index(END) + len(END) - 1):
        with pytest.raises(NotWholeError):
            parse(whole[:size])


def test_what_broke_off_names_the_case() -> None:
    with pytest.raises(NotWholeError, match="it was at regression_1039"):
        parse(FAILED[: FAILED.index(b"regression_1039.1 FAILED")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"1 test case of which 0", b"2 test cases of which 0"),
        (b"1 test case of which 0", b"1 test case of which 1"),
        (b"10 subtests of which 0 failed\n", b""),
        (b'"regression_1004":\nregression_1004 OK', b'"regression_1004":\nregression_1004 FINE'),
    ],
)
def test_output_that_contradicts_itself_is_no_result(old: bytes, new: bytes) -> None:
    assert old in PASSED

    with pytest.raises(NotWholeError):
        parse(PASSED.replace(old, new))


def test_one_case_is_selected_even_where_other_names_contain_its_own() -> None:
    names = ("regression_4007", "regression_4007_rsa", "regression_4008")
    wanted = ["-t", "regression", "regression_4007", "-x", "regression_4007_rsa"]

    assert only("regression_4007", names) == wanted
    assert only("regression_4008", names) == ["-t", "regression", "regression_4008"]


def test_every_committed_name_belongs_to_a_suite() -> None:
    assert {name.partition("_")[0] for name in committed()} == set(SUITES)
