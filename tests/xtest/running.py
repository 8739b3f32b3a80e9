"""xtest on a box: with its TAs where they load, one case at a time or all of them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.deadline import Deadline
from harness.target import Layout, Shell
from tests.xtest.output import NotWholeError, Result, parse

SUITES = ("regression", "pkcs11")
# $1 where the TAs lie, $2 where they load, $3 the program. A box that was put back lost them.
RUN = 'cp -u -- "$1"/*.ta "$2"/ || exit 125; program=$3; shift 3; exec "$program" "$@"'
CANNOT_COPY = 125


def only(case: str, cases: Sequence[str]) -> list[str]:
    """Arguments that select one case: xtest takes every name that contains what it is given."""
    others = [other for other in cases if case in other and other != case]
    return [
        "-t",
        case.partition("_")[0],
        case,
        *(word for other in others for word in ("-x", other)),
    ]


def run(shell: Shell, layout: Layout, *arguments: str, by: Deadline) -> Result:
    """Raises NotWholeError, what ``Shell.run`` raises, and BoxDied when the TEE panics."""
    words = (layout.xtest_tas, layout.ta_directory, layout.xtest, *arguments)
    done = shell.run("sh", "-c", RUN, "xtest", *words, by=by, check=False)
    if done.status == CANNOT_COPY and not done.stdout:
        raise NotWholeError(f"xtest's TAs cannot be copied: {done.stderr[-300:]!r}")
    result = parse(done.stdout)
    if bool(done.status) != bool(result.failed):
        raise NotWholeError(f"xtest ended with status {done.status}, {len(result.failed)} failed")
    return result
