"""``trustbox attest``: ask a box for evidence, judge it, show every check.

Exit status 0 for a good verdict, 7 for a refused one; others as in ``harness/errors.py``. What it
does is in ``attest_run``: this file is what help needs, and the box is opened with no more.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import IntegrityFailure, Misuse
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, opened, to_stderr
from provisioning.policies import DEFAULT

PolicyPath = Annotated[
    Path,
    typer.Option(
        help=f"What must hold. Without it: {DEFAULT.name} of the package, which you copy."
    ),
]
PinPath = Annotated[
    Path | None,
    typer.Option(
        help="What was kept of the enrolment: the key to expect, and from attest --json also the"
        " TA files and the sealed counter."
    ),
]


def attest(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    pin: PinPath = None,
    policy: PolicyPath = DEFAULT,
    nonce: Annotated[
        str | None,
        typer.Option(help="16 to 64 bytes in hex by somebody who will verify. Default: made now."),
    ] = None,
    eat: Annotated[
        Path | None,
        typer.Option(help="Write the evidence here too, as a signed token (EAT, RFC 9711)."),
    ] = None,
    eat_key: Annotated[
        Path | None,
        typer.Option(
            help="The Ed25519 key (PEM, 0600) that signs it, made on first use; its public half"
            " lies beside it. Default: eat-key.pem in the station's data directory."
        ),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(
            "--watch",
            min=1.0,
            help="Look again every so many seconds until Ctrl-C, and tell which check moved.",
        ),
    ] = None,
    tee_only: Annotated[
        bool, typer.Option(help="The TEE's measurements alone: writes nothing, and is quickest.")
    ] = False,
    timings: Annotated[bool, typer.Option(help="Tell where the time went.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a box's TEE with a fresh nonce, look at the rest of the box, and judge the answers.

    The golden measurement comes with the box's firmware. Without --pin any attestation key will
    do: the verdict then says so, and the evidence holds the key for you to pin.

    Nothing on the box changes, but until it was measured a TA lies there that it must refuse.
    With --watch each look is a line (with --json an object a line), and the exit status is that of
    the last look.
    """
    if period is not None and (eat is not None or nonce is not None or tee_only):
        raise Misuse(
            "--watch makes a nonce for each look and writes no token: leave the others out"
        )
    from provisioning.cli.attest_asked import Asked

    asked = Asked.read(policy, pin, nonce=nonce, eat=eat, eat_key=eat_key, tee_only=tee_only)
    began = time.monotonic()
    with opened(
        target, serial, config, progress=to_stderr, meanwhile="provisioning.cli.attest_run"
    ) as box:
        from provisioning.cli.attest_run import attesting
        from provisioning.incidents import demand_none
        from provisioning.station import Station

        good = attesting(
            box, asked, period, opening=time.monotonic() - began, as_json=as_json, timings=timings
        )
        demand_none(Station.default(), box.serial, but="the TEE answers now")
    if not good:
        raise typer.Exit(IntegrityFailure.exit_status)
