"""A serial server between the harness and a UART: Debian's ser2net, speaking RFC 2217."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tenacity

KEYS = ("serial_url", "secure_serial_url")
START_SECONDS = 10.0
_END_SECONDS = 5.0
# A pty has no modem lines, so the server leaves pyserial's setting of them without an answer.
_URL = "rfc2217://127.0.0.1:{port}?ign_set_control"


@contextmanager
def serial_over_network(entry: Mapping[str, Any], directory: Path) -> Iterator[dict[str, Any]]:
    """The bench's entry with every UART behind a server on the loopback interface.

    Raises OSError when the server does not come up; its own words are in ``directory``.
    """
    devices = {key: entry[key] for key in KEYS if key in entry}
    ports = dict(zip(devices, _free_ports(len(devices)), strict=True))
    config = directory / "ser2net.yaml"
    config.write_text("".join(_connection(key, devices[key], ports[key]) for key in devices))
    # Without lock files: the devices are nobody else's.
    command = ["/usr/sbin/ser2net", "-n", "-u", "-c", str(config), "-P", str(directory / "pid")]
    with (directory / "ser2net.log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for port in ports.values():
            _wait_for(port, server)
        yield {**entry, **{key: _URL.format(port=port) for key, port in ports.items()}}
    finally:
        server.terminate()
        try:
            server.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _connection(name: str, device: str, port: int) -> str:
    """ser2net.yaml(5). JSON's texts are YAML's, too."""
    return (
        f"connection: &{name}\n"
        f"  accepter: telnet(rfc2217),tcp,127.0.0.1,{port}\n"
        f"  connector: {json.dumps(f'serialdev,{device},115200n81,local')}\n"
    )


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: ser2net cannot tell which one the kernel chose."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda problem: isinstance(problem, ConnectionRefusedError) and server.poll() is None
        ),
        wait=tenacity.wait_fixed(0.05),
        stop=tenacity.stop_after_delay(START_SECONDS),
        reraise=True,
    ):
        with attempt:
            socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS).close()
