"""``trustbox est`` and ``trustbox dps``: enrollment by hand, and for scripts of a factory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.certificates import pem
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
    text_of,
)
from provisioning.cli.options import AsJson, to_stderr
from provisioning.est import PATIENCE, BasicLogin, EstClient
from provisioning.est_answers import Issued, Parked
from provisioning.private_files import write_durably
from provisioning.request_files import request_in
from provisioning.trusted_files import chain_in

NOT_YET = 9
"""Exit status of an enrollment that the server put off: the same command later goes on."""

est = typer.Typer(help="Certificates from an EST server (RFC 7030).", no_args_is_help=True)

Url = Annotated[str, typer.Argument(help="https://host[:port]")]
Csr = Annotated[Path, typer.Option(help="The PKCS#10 request, PEM or DER.")]
Out = Annotated[Path | None, typer.Option(help="Where to write PEM; default: stdout.")]
Label = Annotated[str, typer.Option(help="Which of the server's CAs (RFC 7030 3.2.2).")]
User = Annotated[str | None, typer.Option(help="Name for HTTP Basic.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File (mode 0600) with its password; - for stdin.")
]
ParkedFile = Annotated[
    Path | None,
    typer.Option(help="Where an enrollment waits that the server put off; read again if there."),
]
Patience = Annotated[float, typer.Option(help="Longest Retry-After, in seconds, to wait for.")]


@est.command("cacerts")
def cacerts(
    url: Url,
    trusted: Trusted = None,
    label: Label = "",
    out: Out = None,
    timeout: Seconds = 60.0,
    as_json: AsJson = False,
) -> None:
    """The server's CA certificates."""
    with Client(trusted).connector() as connector, EstClient(url, connector, label=label) as client:
        found = client.cacerts(by=Deadline.after(timeout))
    _give(found, out, as_json, {})


@est.command("enroll")
def enroll(
    url: Url,
    csr: Csr,
    trusted: Trusted = None,
    chain: Chain = None,
    key: Key = None,
    module: Module = None,
    provider: Provider = None,
    pin_file: PinFile = None,
    state: State = None,
    user: User = None,
    password_file: PasswordFile = None,
    label: Label = "",
    out: Out = None,
    parked: ParkedFile = None,
    patience: Patience = PATIENCE,
    timeout: Seconds = 300.0,
    as_json: AsJson = False,
) -> None:
    """A certificate for a request. Status 9: the server put it off; run the same again later.

    \b
    openssl req -new -key box.key -subj /CN=tb-0042 -out box.csr
    trustbox est enroll https://est.example:8443 --csr box.csr --trusted est-root.pem \\
        --user line-3 --password-file est-password --parked box.parked --out box.pem

    The client shows who it is by --user, or by a certificate (--chain and --key), whose key may
    be in a token: --key 'pkcs11:token=line;object=ra' --module …/libsofthsm2.so --pin-file pin.
    """
    mine = Client(trusted, chain, key, module, provider, pin_file, state)
    by = Deadline.after(timeout)
    login = _login(user, password_file)
    with (
        mine.connector() as connector,
        EstClient(url, connector, login=login, label=label, patience=patience) as client,
    ):
        waiting = _waiting(parked, "simpleenroll", request_in(csr))
        if waiting is not None:
            made = client.resume(waiting, by=by)
        else:
            made = client.enroll(request_in(csr), by=by)
    _end(made, out, parked, as_json)


@est.command("reenroll")
def reenroll(
    url: Url,
    csr: Csr,
    chain: Chain,
    key: Key,
    trusted: Trusted = None,
    module: Module = None,
    provider: Provider = None,
    pin_file: PinFile = None,
    state: State = None,
    label: Label = "",
    out: Out = None,
    parked: ParkedFile = None,
    patience: Patience = PATIENCE,
    timeout: Seconds = 300.0,
    as_json: AsJson = False,
) -> None:
    """A new certificate for the name of the present one (--chain), for its key or another.

    \b
    trustbox est reenroll https://est.example:8443 --csr box.csr --trusted est-root.pem \\
        --chain box.pem --key box.key --out box.new.pem

    Status 9: the server put it off; run the same again later.
    """
    mine = Client(trusted, chain, key, module, provider, pin_file, state)
    by = Deadline.after(timeout)
    if chain is None:
        raise Misuse("--chain is missing")
    with (
        mine.connector() as connector,
        EstClient(url, connector, label=label, patience=patience) as client,
    ):
        waiting = _waiting(parked, "simplereenroll", request_in(csr))
        if waiting is not None:
            made = client.resume(waiting, by=by)
        else:
            made = client.reenroll(request_in(csr), chain_in(chain)[0], by=by)
    _end(made, out, parked, as_json)


def _login(user: str | None, password_file: Path | None) -> BasicLogin | None:
    if (user is None) != (password_file is None):
        raise Misuse("--user and --password-file go together")
    if user is None or password_file is None:
        return None
    return BasicLogin(user, secret_from(password_file))


def _waiting(file: Path | None, operation: str, request: bytes) -> Parked | None:
    """What waits in ``file``, if it is for this request; Misuse when it is for another."""
    if file is None or not file.exists():
        return None
    found = Parked.from_json(text_of(file), str(file))
    if (found.operation, found.request) != (operation, request):
        raise Misuse(
            f"another enrollment waits in {file}",
            hint="The server wants to see the same request again. Name another file, or give that"
            " enrollment up by removing the file.",
        )
    return found


def _end(made: Issued | Parked, out: Path | None, parked: Path | None, as_json: bool) -> None:
    if isinstance(made, Parked):
        if parked is not None:
            write_durably(parked, made.to_json().encode())
        until = made.until.isoformat(timespec="seconds")
        if as_json:
            typer.echo(json.dumps({"parked": True, "until": until, "file": str(parked or "")}))
        else:
            kept = f"; kept in {parked}" if parked else "; not kept, for want of --parked FILE"
            to_stderr(f"the server wants to be asked again at {until}{kept}")
        raise typer.Exit(NOT_YET)
    _give((made.certificate,), out, as_json, {"parked": False})
    if parked is not None:
        parked.unlink(missing_ok=True)  # after the certificate is safe


def _give(
    found: tuple[x509.Certificate, ...], out: Path | None, as_json: bool, more: dict[str, object]
) -> None:
    text = pem(*found)
    if out is not None:
        write_durably(out, text, mode=0o644)
    if as_json:
        listed = [
            {
                "subject": c.subject.rfc4514_string(),
                "issuer": c.issuer.rfc4514_string(),
                "serial": f"{c.serial_number:x}",
                "not_after": c.not_valid_after_utc.isoformat(),
                "pem": pem(c).decode(),
            }
            for c in found
        ]
        typer.echo(json.dumps({**more, "certificates": listed}))
    elif out is None:
        typer.echo(text.decode(), nl=False)
