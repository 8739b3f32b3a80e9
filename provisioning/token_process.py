"""The client's end of the token worker: start it, ask it, and end it when it does not answer."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, LinkLost, Misuse, TokenRefused
from provisioning.token_hints import hint_of
from provisioning.token_protocol import (
    LONGEST_LINE,
    Answer,
    Malformed,
    Request,
    pack_request,
    unpack_answer,
)

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "TMPDIR")


class TokenProcess:
    """A worker with one PKCS#11 module. Cold until the first call; warm until ``close()``.

    Calls from several threads take turns. After a call that raised a LinkError the worker is gone
    and the next call starts a new one, which is logged in nowhere.
    """

    def __init__(
        self,
        module: str,
        *,
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
        broken: int | None = None,
    ) -> None:
        """``descriptors`` are inherited; ``broken`` is one that becomes readable when the module's
        way to its token is lost (p11-kit's client may then wait for ever, seen with 0.24).
        """
        self._module = module
        self._environment = dict(environment)
        self._descriptors = tuple(descriptors)
        self._broken = broken
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object:
        """Raises TokenRefused (the module's answer), DeadlineExpired, LinkLost, BadFrame; Misuse in
        a forked child, which would speak in the middle of its parent's calls.
        """
        if os.getpid() != self._owner:
            raise Misuse(
                f"{doing}: this session with a token is of process {self._owner}, not of this one",
                hint="Open another one after the fork.",
            )
        line = pack_request(Request(do, arguments))
        with self._alone(doing, by):
            try:
                worker = self._started()
            except OSError as problem:  # no memory, no descriptors, no room for its stderr
                self.close()
                raise LinkLost(f"{doing}: the token worker cannot be started: {problem}") from None
            try:
                answer = self._exchange(worker, line, doing, by)
            except BaseException:
                self.close()  # what it would answer now belongs to nobody
                raise
        if answer.ckr:
            raise TokenRefused(doing, answer.ckr, hint=hint_of(answer.ckr))
        if answer.fault:
            raise LinkLost(f"{doing}: {answer.fault}", hint=self._said())
        return answer.value

    def close(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is not None:
                worker.kill()
                worker.wait()
                for end in (worker.stdin, worker.stdout):
                    if end is not None:
                        end.close()
            if self._errors is not None:
                self._errors.close()
                self._errors = None

    @property
    def worker(self) -> object | None:
        """The present worker, for comparing alone: another one is another session."""
        return self._worker

    @contextmanager
    def _alone(self, doing: str, by: Deadline) -> Iterator[None]:
        if not self._lock.acquire(timeout=by.left(doing)):
            raise DeadlineExpired(f"its turn for {doing}", by.seconds)
        try:
            yield
        finally:
            self._lock.release()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._worker is None:
            self._errors = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed in close()
            passed_on = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
            self._worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "provisioning.token_worker", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**passed_on, **self._environment},
                pass_fds=self._descriptors,
                bufsize=0,
                process_group=0,  # Ctrl-C is for the client, which then ends the worker
            )
        return self._worker

    def _exchange(
        self, worker: subprocess.Popen[bytes], line: bytes, doing: str, by: Deadline
    ) -> Answer:
        assert worker.stdin is not None  # noqa: S101 - Popen with PIPE
        assert worker.stdout is not None  # noqa: S101
        try:
            worker.stdin.write(line)
        except BrokenPipeError as problem:
            raise LinkLost(f"{doing}: the token worker ended", hint=self._said()) from problem
        heard = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(worker.stdout, selectors.EVENT_READ)
            if self._broken is not None:
                selector.register(self._broken, selectors.EVENT_READ)
            while not heard.endswith(b"\n"):
                ready = {key.fd for key, _ in selector.select(by.left(doing))}
                if not ready:
                    raise DeadlineExpired(doing, by.seconds)
                if worker.stdout.fileno() not in ready:
                    raise LinkLost(f"{doing}: the way to the token was lost")
                part = os.read(worker.stdout.fileno(), 65536)
                if not part:
                    raise LinkLost(f"{doing}: the token worker ended", hint=self._said())
                heard += part
                if len(heard) > LONGEST_LINE:
                    raise BadFrame(f"{doing}: the token worker answered too much")
        try:
            return unpack_answer(bytes(heard))
        except Malformed as problem:
            raise BadFrame(f"{doing}: the token worker answered nonsense: {problem}") from problem

    def _said(self) -> str:
        """The end of what the worker and its module printed: says why it ended."""
        if self._errors is None:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 2000))
        return self._errors.read().decode(errors="replace").strip()[-500:]
