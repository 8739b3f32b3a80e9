"""A PDU with a web page, on the loopback: a real HTTP server that switches a stand-in box."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class PowerServer:
    """``asked`` has method, path with query, body and Authorization of each request."""

    switch: Callable[[str], int] = lambda path: 200
    """Given the path, does what it says and returns the status to answer."""
    asked: list[tuple[str, str, bytes, str]] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    """While set, requests are taken and not answered."""
    drips: threading.Event = field(default_factory=threading.Event)
    """While set, headers come one by one and never end."""
    url: str = ""


@contextmanager
def power_server(switch: Callable[[str], int] = lambda path: 200) -> Iterator[PowerServer]:
    told = PowerServer(switch)

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.asked.append(
                (self.command, self.path, body, self.headers.get("Authorization", ""))
            )
            dripped = False
            while told.silent.is_set():
                threading.Event().wait(0.05)
            while told.drips.is_set():
                try:
                    self.wfile.write(b"X-Drop: 1\r\n" if dripped else b"HTTP/1.1 200 OK\r\n")
                except OSError:  # who asked has had enough
                    self.close_connection = True
                    return
                dripped = True
                threading.Event().wait(0.05)
            if dripped:
                self.close_connection = True
                return
            status = told.switch(self.path)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"outlet 7 obeys\nsecond line\n")

        do_GET = do_POST = do_PUT = _handle  # noqa: N815 - http.server asks for these names

        def log_message(self, *words: object) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        told.silent.clear()
        told.drips.clear()
        server.shutdown()
        thread.join()
        server.server_close()
