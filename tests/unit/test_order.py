"""The order of this suite's tests for several workers."""

from __future__ import annotations

import pytest

from tests.conftest import ordered, reading_first

BOXLESS = "".join(f"def test_{number}(): ...\n" for number in range(12))
LONG = """
import pytest
pytestmark = pytest.mark.timeout({seconds})
def test_one(): ...
def test_two(): ...
"""


@pytest.fixture
def items(pytester: pytest.Pytester) -> list[pytest.Item]:
    files = {
        "tests/device/test_a.py": BOXLESS.replace("test_", "test_usual_"),
        "tests/device/test_b.py": LONG.format(seconds=400),
        "tests/device/test_c.py": LONG.format(seconds=900),
        "tests/unit/test_d.py": BOXLESS,
    }
    for name, text in files.items():
        file = pytester.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found, _ = pytester.inline_genitems("-p", "no:randomly", "tests")
    assert len(found) == 28
    return found


def files_of(piece: list[pytest.Item]) -> list[str]:
    """The files in the order in which they are first met."""
    return list(dict.fromkeys(item.path.name for item in piece))


def test_one_worker_builds_the_image_and_the_others_begin_with_what_needs_no_box(
    items: list[pytest.Item],
) -> None:
    done = ordered(items, 2)

    assert files_of(done[:14]) == ["test_c.py", "test_b.py", "test_a.py"]
    assert files_of(done[14:])[0] == "test_d.py"


@pytest.mark.parametrize("workers", [2, 3, 5, 40])
def test_every_test_runs_once(items: list[pytest.Item], workers: int) -> None:
    done = ordered(items, workers)

    assert sorted(item.nodeid for item in done) == sorted(item.nodeid for item in items)


@pytest.mark.parametrize("kind", ["tests/unit", "tests/device", "nothing"])
def test_a_run_of_one_kind_alone_is_whole(items: list[pytest.Item], kind: str) -> None:
    some = [item for item in items if item.nodeid.startswith(kind)]

    assert len(ordered(some, 3)) == len(some)


def test_in_a_file_what_only_reads_comes_before_what_wants_a_pristine_box(
    pytester: pytest.Pytester,
) -> None:
    lines = (
        "def test_a(box): ...",
        "def test_b(): ...",
        "def test_c(box): ...",
        "def test_d(): ...",
    )
    found = pytester.getitems("\n".join(lines))

    names = [item.name for item in reading_first(found)]

    assert names == ["test_b", "test_d", "test_a", "test_c"]
