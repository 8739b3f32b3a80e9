"""``trustbox dps``: who may register, and registering a device."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import BadInput
from provisioning.cli.enroll_options import (
    Chain,
    Client,
    Key,
    Module,
    PinFile,
    Provider,
    Seconds,
    State,
    Trusted,
    secret_from,
)
from provisioning.cli.options import AsJson, to_stderr
from provisioning.dps import API_VERSION, GLOBAL_ENDPOINT, DpsDevice
from provisioning.dps_enrollment import Allocation, Enrollment, Kind, Reprovision, Wish
from provisioning.dps_service import POLICY, DpsService
from provisioning.file_trouble import refused
from provisioning.http_errors import ServiceRefused
from provisioning.trusted_files import chain_in

dps = typer.Typer(help="Azure's Device Provisioning Service.", no_args_is_help=True)

KindOption = Annotated[Kind, typer.Option(help="One certificate's holder, or a CA's devices.")]
Service = Annotated[str, typer.Option(help="https://NAME.azure-devices-provisioning.net")]
KeyFile = Annotated[
    Path, typer.Option(help="File (mode 0600) with the policy's key, base64; - for stdin.")
]
Policy = Annotated[str, typer.Option(help="Name of the shared access policy.")]
Id = Annotated[str, typer.Argument(help="Registration id, or the group's id.")]


@dps.command("enroll")
def dps_enroll(
    id: Id,
    certificate: Annotated[Path, typer.Option(help="PEM: the device's own, or the CA's.")],
    service: Service,
    key_file: KeyFile,
    kind: KindOption = Kind.GROUP,
    device_id: Annotated[str, typer.Option(help="The device's id at its hub.")] = "",
    hub: Annotated[str, typer.Option(help="Host name of the hub to assign to.")] = "",
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Whether anybody is let in yet.")
    ] = None,
    edge: Annotated[
        bool | None,
        typer.Option("--edge/--no-edge", help="Whether they become IoT Edge devices at their hub."),
    ] = None,
    twin: Annotated[
        Path | None,
        typer.Option(help='JSON file, the first twin: {"tags": {}, "properties": {"desired": {}}}'),
    ] = None,
    allocation: Annotated[Allocation | None, typer.Option(help="How their hub is chosen.")] = None,
    webhook: Annotated[
        str, typer.Option(help="https address that --allocation custom asks for the hub.")
    ] = "",
    webhook_version: Annotated[
        str, typer.Option(help="Version of the API that the webhook is asked in.")
    ] = "2021-10-01",
    reprovision: Annotated[
        Reprovision | None,
        typer.Option(help="A device's data at its old hub, when it registers and gets another."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change one that differs.")] = False,
    policy: Policy = POLICY,
    trusted: Trusted = None,
    timeout: Seconds = 60.0,
    as_json: AsJson = False,
) -> None:
    """Let a device, or all devices of a CA, register. Twice the same changes nothing.

    \b
    trustbox dps enroll line-3 --certificate issuing.pem \\
        --service https://NAME.azure-devices-provisioning.net --key-file dps-key
    trustbox dps enroll tb-0042 --kind individual --certificate tb-0042.pem --device-id tb-0042 …

    --device-id is for one device (--kind individual): a group's devices have their own names.
    Boxes with IoT Edge need --edge. What no option says stays as it is, with --replace, too.
    """
    wanted = chain_in(certificate)[0]
    wish = Wish(
        device_id=device_id, hub=hub, edge=edge, twin=_twin_in(twin) if twin else None,
        allocation=allocation, webhook=(webhook, webhook_version) if webhook else None,
        reprovision=reprovision,
    )  # fmt: skip
    if enabled is not None:
        wish["enabled"] = enabled
    with _service(service, trusted, key_file, policy) as there:
        made, new = there.ensure(
            kind, id, wanted, replace=replace, by=Deadline.after(timeout), **wish
        )
    _show(made, as_json, changed=new)
    if not made.enabled:
        to_stderr(f"{made.id} is disabled and lets nobody in; --enabled --replace changes that")


@dps.command("show")
def dps_show(
    id: Id,
    service: Service,
    key_file: KeyFile,
    kind: KindOption = Kind.GROUP,
    policy: Policy = POLICY,
    trusted: Trusted = None,
    timeout: Seconds = 60.0,
    as_json: AsJson = False,
) -> None:
    """An enrollment, as the service has it. Status 6 when there is none."""
    with _service(service, trusted, key_file, policy) as there:
        found = there.find(kind, id, by=Deadline.after(timeout))
    if found is None:
        raise ServiceRefused(
            f"looking up enrollment {id}", f"there is no such {kind.value}", http_status=404
        )
    _show(found, as_json)


@dps.command("remove")
def dps_remove(
    id: Id,
    service: Service,
    key_file: KeyFile,
    kind: KindOption = Kind.GROUP,
    policy: Policy = POLICY,
    trusted: Trusted = None,
    timeout: Seconds = 60.0,
    as_json: AsJson = False,
) -> None:
    """Let no more devices register by this enrollment. None there: nothing happens."""
    with _service(service, trusted, key_file, policy) as there:
        removed = there.remove(kind, id, by=Deadline.after(timeout))
    if as_json:
        typer.echo(json.dumps({"kind": kind.value, "id": id, "removed": removed}))
    else:
        typer.echo(f"{kind.value} {id} {'removed' if removed else 'was not there'}")


@dps.command("register")
def dps_register(
    registration_id: Annotated[str, typer.Argument(help="The certificate's common name.")],
    id_scope: Annotated[str, typer.Option(help="The service's ID scope.")],
    chain: Chain,
    key: Key,
    module: Module = None,
    provider: Provider = None,
    pin_file: PinFile = None,
    state: State = None,
    trusted: Trusted = None,
    endpoint: Annotated[str, typer.Option(help="The service's address.")] = GLOBAL_ENDPOINT,
    api_version: Annotated[str, typer.Option(help="Version of the REST API.")] = API_VERSION,
    operation: Annotated[str, typer.Option(help="Only poll this one, begun earlier.")] = "",
    timeout: Seconds = 120.0,
    as_json: AsJson = False,
) -> None:
    """Register a device with its certificate, and wait for the hub that it is assigned to."""
    mine = Client(trusted, chain, key, module, provider, pin_file, state)
    with mine.connector() as connector:
        device = DpsDevice(
            id_scope, registration_id, connector, endpoint=endpoint, api_version=api_version
        )
        with device:
            done = device.register(
                by=Deadline.after(timeout),
                operation=operation,
                started=lambda begun: to_stderr(f"operation {begun}"),
            )
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(f"{done.registration_id} is assigned to {done.hub} as {done.device_id}")


def _twin_in(file: Path) -> Mapping[str, object]:
    try:
        found = json.loads(file.read_text())
    except OSError as problem:
        raise refused(file, problem, "read") from problem
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(where=str(file), key="the file", value="(not that)", expected="JSON, a twin")
    return found


@contextmanager
def _service(url: str, trusted: Path | None, key_file: Path, policy: str) -> Iterator[DpsService]:
    with (
        Client(trusted).connector() as connector,
        DpsService(url, connector, secret_from(key_file), policy=policy) as there,
    ):
        yield there


_SHOWN = {
    "allocation": "allocationPolicy",
    "reprovision": "reprovisionPolicy",
    "twin": "initialTwin",
    "webhook": "customAllocationDefinition",
}


def _show(found: Enrollment, as_json: bool, *, changed: bool | None = None) -> None:
    told = {
        "kind": found.kind.value,
        "id": found.id,
        "enabled": found.enabled,
        "certificate_sha256": found.sha256,
        "device_id": found.device_id,
        "hub": found.hub,
        "edge": found.edge,
        "etag": found.etag,
        **{key: found.found.get(name) for key, name in _SHOWN.items()},
    }
    if changed is not None:
        told["changed"] = changed
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, value in told.items():
        typer.echo(f"{name:20} {'' if value is None else value}")
