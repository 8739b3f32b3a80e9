"""xtest's cases run when somebody asks for them: ``-m xtest``, or their file by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.xtest.running import SUITES

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = (config.invocation_params.dir / word.partition("::")[0] for word in config.args)
    if "xtest" in config.option.markexpr or any(HERE in (p, *p.parents) for p in named):
        return
    left = [item for item in items if not item.get_closest_marker("xtest")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(left)])
    items[:] = left


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts of each suite, and why a case failed."""
    ended: dict[str, Counter[str]] = {suite: Counter() for suite in SUITES}
    failed = []
    for outcome in ("passed", "failed", "xfailed", "xpassed", "skipped", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            told = dict(getattr(report, "user_properties", ()))
            if "xtest" not in told:
                continue
            ended[told["xtest"].partition("_")[0]][outcome] += 1
            ended[told["xtest"].partition("_")[0]]["subtests"] += told.get("subtests", 0)
            if outcome != "passed":
                failed.append(f"{told['xtest']}: {outcome}: {told.get('why', 'see its report')}")
    for suite, counts in ended.items():
        if counts:
            said = ", ".join(f"{count} {what}" for what, count in counts.items())
            terminalreporter.write_line(f"xtest {suite}: {said}")
    for line in failed:
        terminalreporter.write_line(f"xtest {line}")
