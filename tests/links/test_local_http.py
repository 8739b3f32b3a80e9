"""The ground of the station's own services, spoken to octet by octet and by curl."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from harness.deadline import Deadline
from harness.errors import Misuse, RigError
from provisioning.http_client import Http
from provisioning.http_errors import ServiceBusy
from provisioning.http_tls import TlsConnector
from provisioning.local_http import Asked, LocalServer, ServerFiles, Told, named_trouble
from tests.links.est_pki import Pki, new_key, pem_of, write_key

pytestmark = pytest.mark.slow


class Echo(LocalServer):
    """Says what it was asked."""

    def __init__(self, pki: Pki, **more: int | float) -> None:
        files = ServerFiles(pki.here / "server.pem", pki.here / "server.key")
        super().__init__(files, trusted=pki.text, **more)  # type: ignore[arg-type]  # ints, floats
        self.pki = pki
        self.heard: list[bytes] = []

    def answer(self, asked: Asked) -> Told:
        self.heard.append(asked.body)
        if asked.path == "/disk":
            raise OSError(28, "No space left on device", "/a/station/file")
        if asked.path == "/hsm":
            raise RigError("the HSM is away")
        return Told(200, asked.body)


@contextmanager
def client(server: Echo, host: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cadata=server.pki.text)
    with (
        socket.create_connection((host, server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        yield secured


def answers(secured: ssl.SSLSocket, count: int = 1) -> list[bytes]:
    """Status lines of so many answers, or of fewer when the server ends."""
    heard, by = b"", Deadline.after(10)
    while heard.count(b"HTTP/1.1 ") < count or b"\r\n\r\n" not in heard:
        secured.settimeout(by.left("an answer"))
        part = secured.recv(4096)
        if not part:
            break
        heard += part
    return re.findall(rb"HTTP/1\.1 [^\r]*", heard)


@pytest.fixture
def server(pki: Pki) -> Iterator[Echo]:
    with Echo(pki) as running:
        yield running


POST = b"POST /x HTTP/1.1\r\nHost: localhost\r\n"


def test_chunked_body_is_read_to_its_end_and_the_next_request_is_the_next(server: Echo) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with client(server) as secured:
        secured.sendall(chunked + POST + b"Content-Length: 1\r\n\r\nf")
        assert answers(secured, 2) == [b"HTTP/1.1 200 OK"] * 2

    assert server.heard == [b"abcde", b"f"]


def test_curl_sends_chunks_and_is_answered(server: Echo) -> None:
    done = subprocess.run(
        [
            *("curl", "-sS", "--cacert", str(server.pki.here / "ca.pem"), "--data-binary", "@-"),
            *("-H", "Transfer-Encoding: chunked", f"https://localhost:{server.port}/x"),
        ],
        input=b"o" * 50000, capture_output=True, check=False, timeout=30,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, b"o" * 50000, b"")


@pytest.mark.fault(
    "Services",
    "a request that two programs could read in two ways (two lengths, no Host, a length that is no"
    " number)",
    comes="HTTP 400 (413 for more than 64 KiB); the connection ends, nothing of it is taken for the"
    " next request",
    then="nothing at the station; the client has to be mended",
)
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (POST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\n", 400),
        (POST + b"Content-Length: \xb2\r\n\r\n", 400),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (POST + b"X: " + b"y" * 40000 + b"\r\n\r\n", 431),
        (POST + b"Content-Length: 70000\r\n\r\n" + b"z" * 70000, 413),
    ],
    ids=["two lengths", "squared", "negative", "coding", "no Host", "no HTTP", "head", "body"],
)
def test_request_of_another_form_is_refused_and_the_connection_ends(
    server: Echo, head: bytes, status: int
) -> None:
    with client(server) as secured:
        secured.sendall(head + POST + b"Content-Length: 0\r\n\r\n")
        lines = answers(secured, 2)

    assert [line.split()[1] for line in lines] == [str(status).encode()]
    assert server.heard == []


def test_client_that_goes_away_in_its_body_disturbs_nobody(server: Echo) -> None:
    """A traceback in the connection's thread would fail this test (PytestUnhandledThread...)."""
    for _ in range(3):
        with client(server) as secured:
            secured.sendall(POST + b"Content-Length: 100\r\n\r\nhalf")
    with client(server) as secured:
        secured.sendall(POST + b"Content-Length: 0\r\n\r\n")
        assert answers(secured) == [b"HTTP/1.1 200 OK"]

    assert server.heard == [b""]


@pytest.mark.fault(
    "Services",
    "a client that sends its request octet by octet, or nothing at all",
    comes="HTTP 408 after 20 s, however slowly it went on; the connection ends",
    then="nothing: others are served meanwhile",
)
@pytest.mark.parametrize("drip", [b"a", b""], ids=["dripping", "silent"])
def test_request_has_one_time_limit_however_slowly_it_comes(pki: Pki, drip: bytes) -> None:
    line, begun = b"", time.monotonic()
    with Echo(pki, seconds=1.0) as server, client(server) as secured:
        secured.sendall(POST + b"X: ")
        secured.settimeout(0.2)
        while not line and time.monotonic() - begun < 8:
            with suppress(TimeoutError):
                line = secured.recv(4096).partition(b"\r\n")[0]
                continue
            secured.sendall(drip)

    assert line == b"HTTP/1.1 408 Request Timeout"


def test_handshake_that_never_comes_ends_too(pki: Pki) -> None:
    with (
        Echo(pki, seconds=1.0) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
    ):
        plain.sendall(b"\x16\x03")
        assert plain.recv(100) == b""


def test_who_comes_when_all_places_are_taken_is_served_when_one_is_free(pki: Pki) -> None:
    with Echo(pki, most=2) as server, ExitStack() as held:
        first, _ = (held.enter_context(client(server)) for _ in range(2))
        third = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        wanted = ssl.create_default_context(cadata=pki.text)
        third.settimeout(0.5)
        with pytest.raises(TimeoutError):
            wanted.wrap_socket(third.dup(), server_hostname="localhost")
        assert server.handshakes == 2
        third.close()
        first.close()
        with client(server) as later:
            later.sendall(POST + b"Content-Length: 0\r\n\r\n")
            assert answers(later) == [b"HTTP/1.1 200 OK"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_localhost_is_served_at_both_of_its_addresses(server: Echo, host: str) -> None:
    with client(server, host) as secured:
        secured.sendall(POST + b"Content-Length: 0\r\n\r\n")
        assert answers(secured) == [b"HTTP/1.1 200 OK"]


def test_port_of_which_somebody_has_the_half_is_refused(pki: Pki) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misuse, match="cannot be listened on"):
            Echo(pki, port=port)


@pytest.mark.fault(
    "Services",
    "the station's disk is full or its HSM away while a service answers",
    comes="HTTP 503 with Retry-After and the cause in words, never 400",
    then="mend the station; the client asks again by itself",
)
@pytest.mark.parametrize(
    ("path", "words"),
    [(b"/disk", b"No space left on device (/a/station/file)"), (b"/hsm", b"the HSM is away")],
)
def test_stations_own_trouble_is_503_with_its_cause(
    server: Echo, path: bytes, words: bytes
) -> None:
    with client(server) as secured:
        secured.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        heard = b""
        while part := secured.recv(4096):
            heard += part

    assert heard.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: " in heard
    assert words in heard


def test_new_certificate_in_its_place_serves_from_the_next_connection_on(pki: Pki) -> None:
    def shown(server: Echo) -> bytes | None:
        with client(server) as secured:
            return secured.getpeercert(binary_form=True)

    with Echo(pki) as server:
        first, key = shown(server), new_key()
        (pki.here / "server.pem").write_text(pem_of(pki.issue(key.public_key(), "localhost")))
        assert shown(server) == first  # the key is still the other one's
        write_key(pki.here / "server.key", key)
        assert shown(server) not in (first, None)


def test_files_that_are_no_certificate_are_named(pki: Pki) -> None:
    (pki.here / "server.pem").write_text("x")

    with pytest.raises(RigError, match=r"server\.pem cannot be used"):
        Echo(pki)


def test_end_of_the_server_ends_who_is_connected(pki: Pki) -> None:
    with ExitStack() as held:
        with Echo(pki) as server:
            secured = held.enter_context(client(server))
        assert secured.recv(100) == b""


def test_what_kept_a_server_of_this_process_from_answering_is_raised_instead_of_busy(
    server: Echo,
) -> None:
    by = Deadline.after(10)
    with pytest.raises(RigError, match="the HSM is away"), named_trouble(server):
        with closing(
            Http(f"https://localhost:{server.port}", TlsConnector(server.pki.text))
        ) as http:
            assert http.request("GET", "/hsm", by=by).status == 503
        raise ServiceBusy("asking", 503, 5.0)


def test_server_elsewhere_or_one_that_answered_is_busy_by_its_own_word(server: Echo) -> None:
    for own in (server, None):
        with pytest.raises(ServiceBusy), named_trouble(own):
            raise ServiceBusy("asking", 503, 5.0)
