"""``trustbox factory``: the station's own EST server and provisioning service."""

from __future__ import annotations

import json
import signal
import threading
from typing import Annotated

import typer

from harness.deadline import Deadline
from provisioning.authority_policy import DEVICE
from provisioning.cli.ca_options import CA_SECONDS, StateDirectory, days_or_unlimited, station_ca
from provisioning.cli.options import AsJson, to_stderr
from provisioning.local_http import LOOPBACK
from provisioning.local_services import EST_USER, GROUP, ID_SCOPE, Ports, ServiceFiles, Services

app = typer.Typer(
    help="The station's own EST server, and a provisioning service to try with.",
    no_args_is_help=True,
)


@app.callback()
def factory() -> None:
    """The station's own EST server, and a provisioning service to try with."""


@app.command()
def serve(
    state: StateDirectory = None,
    listen: Annotated[
        str, typer.Option(help="An address of this machine; boxes on a bench need one of a LAN.")
    ] = LOOPBACK,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name or address by which clients call it; repeat it."),
    ] = None,
    est_port: Annotated[int, typer.Option(min=0, max=65535, help="0: the one of last time.")] = 0,
    dps_port: Annotated[int, typer.Option(min=0, max=65535, help="0: the one of last time.")] = 0,
    days: Annotated[str, typer.Option(help="How long certificates are good, or unlimited.")] = str(
        DEVICE.days
    ),
    http10: Annotated[
        bool, typer.Option("--http10", help="EST in HTTP/1.0, for clients made with libest.")
    ] = False,
    edge: Annotated[
        bool, typer.Option("--edge", help="Devices that register become IoT Edge devices.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve EST (RFC 7030) over the station's CA, and a DPS-compatible service, until Ctrl-C.

    \b
    trustbox factory serve
    curl --cacert ROOT https://localhost:PORT/.well-known/est/cacerts

    The issuing CA's key stays in its token. The provisioning service is ours and not Microsoft's:
    it speaks the same protocol, lets in what the CA certified, and assigns all to one hub that
    does not exist. trustbox provision starts both by itself where a plan says "station".
    """
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        by, period = Deadline.after(CA_SECONDS), days_or_unlimited(days)
        files = ServiceFiles(station_ca(state).state)
        usual = files.ports()
        with (
            station_ca(state).opened(by=by) as ca,
            files.serving(
                lambda: ca,
                days=period,
                names=[*(name or ()), listen],
                listen=listen,
                ports=Ports(est_port or usual.est, dps_port or usual.dps),
                http="HTTP/1.0" if http10 else "HTTP/1.1",
                edge=edge,
            ) as running,
        ):
            _tell(running, listen, as_json)
            ended.wait()
        to_stderr("both ended")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(running: Services, listen: str, as_json: bool) -> None:
    host = "localhost" if listen == LOOPBACK else listen
    files = running.files
    told = {
        "est": f"https://{host}:{running.est.port}",
        "dps": f"https://{host}:{running.dps.port}",
        "trusted": str(files.tls.root),
        "est_user": EST_USER,
        "est_password_file": str(files.here / "est-login"),
        "id_scope": ID_SCOPE,
        "group": GROUP,
        "dps_key_file": str(files.here / "dps-key"),
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"EST server             {told['est']}")
    typer.echo(f"  login                {EST_USER}, password in {told['est_password_file']}")
    typer.echo(f"provisioning service   {told['dps']} (ours, not Microsoft's)")
    typer.echo(f"  ID scope             {ID_SCOPE}, group {GROUP}: what the issuing CA certified")
    typer.echo(f"  policy key           in {told['dps_key_file']}")
    typer.echo(f"root of both for TLS   {told['trusted']}")
    to_stderr("Ctrl-C ends both")
