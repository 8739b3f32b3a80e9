"""The shell over a serial line, against a real shell on a real pty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.console_shell import ConsoleShell
from tests.links.faulty_line import Box
from tests.shell_claims import ShellClaims


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleShell]:
    box = Box(("dash", "-i"), tmp_path_factory.mktemp("box")).on()
    yield box.shell()
    box.off()


class TestOverAConsole(ShellClaims):
    bulk = 1_000_000

    @pytest.fixture
    def shell(self, kept: ConsoleShell) -> ConsoleShell:
        return kept
