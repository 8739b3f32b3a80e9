"""``trustbox ta package``: an IoT Edge module with an enclave in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from provisioning.cli.options import AsJson, to_stderr
from provisioning.cli.ta_options import read_file
from provisioning.enclave_package import TA_DIRECTORY, Module, package


def pack(
    enclave: Annotated[Path, typer.Argument(help="The encrypted TA.")],
    application: Annotated[
        Path, typer.Option(help="The host application: a program for the box (AArch64).")
    ],
    image: Annotated[
        str, typer.Option(help="What the deployment pulls: registry.example/name:tag.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to be made.")],
    name: Annotated[str | None, typer.Option(help="The module's name; the application's.")] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Directory with all else for the image: libraries, libteec, data."),
    ] = None,
    argument: Annotated[
        list[str] | None, typer.Option(help="For the application; repeat it.")
    ] = None,
    ta_directory: Annotated[
        str, typer.Option(help="Where the box's TEE supplicant looks for TAs.")
    ] = TA_DIRECTORY,
    unprivileged: Annotated[
        bool, typer.Option("--unprivileged", help="No Privileged: the device and the bind alone.")
    ] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take a TA that is not encrypted, for all to read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an OCI image directory and the deployment's entry for it.

    OUT/image goes to a registry with any OCI tool: skopeo copy oci:OUT/image:TAG docker://IMAGE.
    OUT/module.json goes into the deployment manifest, under $edgeAgent, modules.
    """
    module = Module(
        name=name or application.name,
        image=image,
        application=application,
        arguments=tuple(argument or ()),
        root=root,
        privileged=not unprivileged,
        ta_directory=ta_directory,
    )
    digest = package(read_file(enclave), module, out, where=str(enclave), clear=clear)
    if as_json:
        made = {"image": str(out / "image"), "module": str(out / "module.json"), "digest": digest}
        typer.echo(json.dumps(made))
        return
    to_stderr(f"{out}: image {digest}")
    to_stderr(f"next: skopeo copy oci:{out / 'image'}:{image.rpartition(':')[2]} docker://{image}")
