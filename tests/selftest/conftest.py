"""Runs of pytest inside of pytest: only the plugin under test, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def built_images() -> Path:
    """Where the user's caches are; taken before pytester moves HOME away."""
    return platformdirs.user_cache_path()


@pytest.fixture
def run(built_images: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(source, *options)``: pytest on a file with that text; images come from the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(built_images))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run_on(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess(
            "--strict-markers", "-p", "no:randomly", "-p", "no:cacheprovider", *options
        )

    return run_on
