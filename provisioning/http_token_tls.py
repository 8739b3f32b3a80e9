"""TLS with a client key that stays in a token: OpenSSL's own program makes the handshake.

Python's ssl takes keys from files only, so ``openssl s_client`` does it, with pkcs11-provider and
whatever PKCS#11 module the token has::

    httpx → this → Stream → sh → openssl s_client → pkcs11-provider → module → token
                                       └── TLS ──→ the service

It runs on a box (BoxPlace: the box's own OpenSSL and network), or here (HostPlace) with a token of
the host's or, through p11-kit's client, of a box. The PIN goes in as the first line of its input:
it is on no command line, in no environment and in no file.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys

from harness.deadline import Deadline
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    IntegrityFailure,
    LinkError,
    LinkLost,
    MissingCapability,
    Misuse,
    TrustBoxError,
    Unreachable,
)
from harness.ready import readable
from harness.secret import Secret
from harness.target import Stream
from provisioning.est_wire import plain_text
from provisioning.http_errors import UntrustedServer
from provisioning.http_place import Place
from provisioning.http_tls import refused_in_tls
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.trusted_files import roots_of

# A here-document, because `-pass stdin` reads ahead and would swallow the beginning of a request;
# `read` takes single octets from a pipe. Small ones never become a file (dash, busybox, bash 5.1).
_SCRIPT = """\
IFS= read -r pin || exit 1
exec 2>"$1"
OPENSSL_CONF=$2
export OPENSSL_CONF
shift 2
exec openssl s_client "$@" -pass fd:3 3<<END
$pin
END
"""

# no-deinit: OpenSSL 3.0 with pkcs11-provider 1.0 crashes at its end otherwise (measured).
_CONFIGURATION = """\
openssl_conf = trustbox
[trustbox]
providers = trustbox_providers
[trustbox_providers]
default = trustbox_default
pkcs11 = trustbox_pkcs11
[trustbox_default]
activate = 1
[trustbox_pkcs11]
{provider}pkcs11-module-path = {module}
pkcs11-module-quirks = no-deinit
activate = 1
"""


class PinCheck(Protocol):
    """Gives the token the PIN by a session that looks at its flags and counts wrong ones."""

    def __call__(self, pin: Secret, *, by: Deadline) -> object:
        """Raises TokenRefused when the PIN is wrong, or must not be tried."""


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A certificate with its issuers (PEM, leaf first), and where its key is.

    ``module`` and ``provider`` (pkcs11.so; "": where OpenSSL looks by itself) are paths of the
    place where the handshake is made. ``pin`` is asked for at each handshake; OpenSSL gets it only
    after ``check`` had it taken by the token.
    """

    chain: str
    key: Pkcs11Uri
    module: str
    pin: Callable[[], Secret]
    check: PinCheck
    provider: str = ""


class TokenTlsConnector:
    """Implements ``Connector``. ``trusted`` as for TlsConnector: PEM, or None for the system's.

    ``connect`` returns when OpenSSL was started; nothing of a request is sent before the server
    proved who it is, and what the handshake ended in is raised by the first ``receive``. A wrong
    PIN costs one try, which the station counts, and is TokenRefused before OpenSSL is started.

    ``via``: ``host:port`` to connect to instead, for a box that reaches the service through a
    tunnel; the server still has to prove the name that was asked for.
    """

    def __init__(
        self, place: Place, identity: TokenIdentity, trusted: str | None, *, via: str = ""
    ) -> None:
        if via and not re.fullmatch(
            r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-f:]+\]):\d{1,5}", via
        ):
            raise Misuse(f"{via[:80]!r} is no host:port")
        self._place, self._identity = place, identity
        self._trusted = None if trusted is None else roots_of(trusted)
        self._via = via
        self._files: dict[str, str] = {}
        self._connections = 0
        self._checked: Secret | None = None

    def connect(self, host: str, port: int, *, by: Deadline) -> TokenTlsConnection:
        pin = self._identity.pin().reveal()
        if not pin or b"\n" in pin or b"\0" in pin:
            raise Misuse("a PIN with a line feed or a NUL in it cannot be given to OpenSSL")
        if self._checked is None or not hmac.compare_digest(self._checked.reveal(), pin):
            self._identity.check(Secret(pin), by=by)
            self._checked = Secret(pin)
        files = self._written(by)
        self._connections += 1
        said = f"said-{self._connections}"
        options = self._options(host, port, files)
        script = ("sh", "-c", _SCRIPT, "sh", self._place.path(said), files["openssl.cnf"])
        stream = self._place.start(*script, *options, by=by)
        try:
            stream.send(pin + b"\n", by=by)
        except BaseException:
            stream.close()
            raise
        rsa = _is_rsa(self._identity.chain)
        return TokenTlsConnection(stream, self._place, said, f"{host}:{port}", rsa=rsa)

    def _written(self, by: Deadline) -> dict[str, str]:
        if not self._files:
            mine = self._identity
            provider = f"module = {_plain(mine.provider)}\n" if mine.provider else ""
            text = _CONFIGURATION.format(provider=provider, module=_plain(mine.module))
            contents = {"openssl.cnf": text, "chain.pem": mine.chain}
            if self._trusted is not None:
                contents["trusted.pem"] = self._trusted
            self._files = {
                name: self._place.write(name, content.encode(), by=by)
                for name, content in contents.items()
            }
        return self._files

    def _options(self, host: str, port: int, files: dict[str, str]) -> list[str]:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host):
                raise Misuse(f"{host[:80]!r} is no host name") from None
            names, shown = ["-servername", host, "-verify_hostname", host], host
        else:
            names = ["-noservername", "-verify_ip", host]
            shown = f"[{host}]" if address.version == 6 else host
        trust = ["-CAfile", files["trusted.pem"], "-no-CApath", "-no-CAstore"]
        return [
            # no_ign_eof: it ends with its input, or it would stay behind when SSH goes away.
            *("-quiet", "-no_ign_eof", "-nocommands", "-verify_quiet", "-verify_return_error"),
            "-enable_pha",
            *("-min_protocol", "TLSv1.2", "-connect", self._via or f"{shown}:{port}", *names),
            *(trust if self._trusted is not None else ()),
            *("-cert", files["chain.pem"], "-cert_chain", files["chain.pem"]),
            *("-key", self._identity.key.text()),
        ]


class TokenTlsConnection:
    """Implements ``Connection`` over the program's input and output."""

    tls_unique = None  # s_client does not tell it

    def __init__(
        self, stream: Stream, place: Place, said: str, what: str, *, rsa: bool = False
    ) -> None:
        self._stream, self._place, self._said, self._what = stream, place, said, what
        self._rsa = rsa

    def send(self, data: bytes, *, by: Deadline) -> None:
        try:
            self._stream.send(data, by=by)
        except LinkLost as problem:
            raise self._ending(by) or problem from problem

    def receive(self, most: int, *, by: Deadline) -> bytes:
        try:
            data = self._stream.receive(most, by=by)
        except DeadlineExpired:
            raise DeadlineExpired(f"{self._what} to answer", by.seconds) from None
        if data:
            return data
        problem = self._ending(by)
        if problem is not None:
            raise problem
        return b""

    def readable(self) -> bool:
        return bool(readable([self._stream.fileno()], 0))

    def close(self) -> None:
        self._stream.close()

    def _ending(self, by: Deadline) -> TrustBoxError | None:
        """What OpenSSL said when it ended; None: nothing, after the server's goodbye."""
        text = self._place.read(self._said, by=by).decode(errors="replace")
        return judged_ending(self._what, text, rsa=self._rsa)


_MOST_LINES = 8
_NO_MECHANISM = re.compile(
    r"CKR_MECHANISM_(?:PARAM_)?INVALID|invalid mechanism|mech_fallback|"
    r"CKR_KEY_FUNCTION_NOT_PERMITTED|CKR_FUNCTION_NOT_SUPPORTED",
    re.IGNORECASE,
)
"""What pkcs11-provider says of a token that does not sign that way."""


def judged_ending(what: str, text: str, *, rsa: bool = False) -> TrustBoxError | None:
    """The error that OpenSSL's last words are; None when it had none, after a whole connection.

    ``rsa``: the key in the token is one.
    """
    if not text.strip():
        return None
    reason = plain_text(text.strip().splitlines()[-1].encode())
    failed = re.search(r"verify error:num=\d+:([^\n]{1,100})", text)
    if failed or "certificate verify failed" in text:
        return UntrustedServer(what, failed[1] if failed else "its certificate does not verify")
    alert = re.search(r"SSL routines:[^:\n]*:([^:\n]{0,60}\balert\b[^:\n]{0,60})", text)
    if alert:
        return refused_in_tls(what, alert[1])
    if re.search(r"Could not (?:read|find|open)|unable to load|Error loading", text):
        return DeviceRefused(
            f"OpenSSL could not use the key in the token: {reason}",
            hint="Its PIN was taken just before. Is there such a key in the token, and does its"
            " module load where the handshake is made (--provider)?",
        )
    if re.search(r"connect:errno|BIO_lookup|BIO_connect|Connection refused", text):
        return Unreachable(f"{what} cannot be reached: {reason}")
    if "key values mismatch" in text:
        return IntegrityFailure(
            "the device's certificate belongs to another key than the one in its token"
        )
    if "openssl: not found" in text or "openssl: No such" in text:
        return Misuse("there is no openssl program where the handshake is to be made")
    if "tls_construct_cert_verify" in text and _NO_MECHANISM.search(text):
        return MissingCapability(
            "the token",
            ["RSA-PSS, which TLS 1.3 asks of an RSA key" if rsa else "what TLS asks of its key"],
            hint="Take an EC key: profile ec-p256 of the plan's [key], or trustbox keys rotate."
            f" OpenSSL said: {_whole(text)}",
        )
    if re.search(r"unexpected eof|errno|reset by peer|Broken pipe", text):
        return LinkLost(f"the connection with {what} broke: {reason}")
    # Not LinkLost: what nobody knows must not be tried again, each time with a PIN.
    return LinkError(
        f"OpenSSL gave up the connection with {what}: {reason}",
        hint=f"All that OpenSSL said: {_whole(text)}" if "\n" in text.strip() else "",
    )


def _whole(text: str) -> str:
    """OpenSSL's error stack: its last line alone is often of who noticed, not of what was wrong."""
    lines = (plain_text(line.encode()) for line in text.strip().splitlines()[-_MOST_LINES:])
    return "; ".join(lines)


def _is_rsa(chain: str) -> bool:
    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError:
        return False  # OpenSSL says what is wrong with it
    return isinstance(leaf.public_key(), rsa_keys.RSAPublicKey)


def _plain(path: str) -> str:
    """A path that means itself in OpenSSL's configuration."""
    if not re.fullmatch(r"/[A-Za-z0-9._/+-]+", path):
        raise Misuse(f"{path[:80]!r} is not a plain absolute path")
    return path
