"""The tests that the documentation shows do what it says, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.selftest.conftest import Run

HOUSE = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", ["README.md", "docs/writing-tests.md"])
def test_the_example_passes_as_it_stands(run: Run, document: str) -> None:
    example = re.search(r"```python\n(.*?)```", (HOUSE / document).read_text(), re.DOTALL)
    assert example is not None

    run(example[1]).assert_outcomes(passed=1)
