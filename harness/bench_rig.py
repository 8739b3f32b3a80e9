"""What holds a real box: its power switch and its serial lines, with evidence for what they did.

A switch's yes is not believed: off is off when the console is silent and SSH is gone, on is on when
the shell answers, and a box that comes back in the same life was never without power.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from harness.bench_answer import answers, boot_id, nobody_listens
from harness.bench_evidence import Cycled, alive, settle
from harness.bench_lines import Lines
from harness.bench_lock import BenchLost
from harness.config_bench import BenchConfig
from harness.config_power import Action
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import MissingCapability, RigError
from harness.holding import Endpoint
from harness.power import PowerSwitch
from harness.power_command import run_command
from harness.target import World
from harness.vitals import Vitals

ATTACH_SECONDS = 5.0
"""For a serial line that should be there and is not yet open."""
OFF_SECONDS = 60.0
"""On top of what the switch itself may take: for a box that ends its last words."""
ANSWER_SECONDS = 60.0
BOOT_SECONDS = 300.0
"""Opening waits no longer, however patient its caller: he may be prepared for an image build."""
_MOST_LOG = 500
_CUT = "its power was cut by the bench"


class BenchRig:
    """Implements ``Rig``. Thread-safe: calls take turns. Without ``switch`` it lacks power."""

    def __init__(
        self,
        config: BenchConfig,
        *,
        serial: str,
        vitals: Vitals,
        consoles: Mapping[World, SerialConsole],
        switch: PowerSwitch | None,
        give_back: Callable[[], None] = lambda: None,
        confirm_ours: Callable[[], None] = lambda: None,
        off_seconds: float = OFF_SECONDS,
    ) -> None:
        self.config, self.serial = config, serial
        self.vitals, self.lines = vitals, Lines(consoles, config)
        self._switch, self._give_back, self._off_seconds = switch, give_back, off_seconds
        self._confirm_ours, self._lost = confirm_ours, ""
        self._lock = threading.RLock()
        self._is_on: bool | None = None
        self._boot_id = self._missed = ""
        self._off_at = 0.0
        self._ours = self._closed = False
        self._said: deque[str] = deque(maxlen=_MOST_LOG)
        vitals.examine_by(self._examine)

    @property
    def has_power(self) -> bool:
        """Whether the box can be switched off and on from here."""
        return self._switch is not None and all(self._switch.can(do) for do in ("on", "off"))

    @property
    def can_cycle(self) -> bool:
        return self.has_power or (self._switch is not None and self._switch.can("cycle"))

    def confirm_ours(self) -> None:
        """Before anything is done to the box. Raises BenchLost for good once somebody else has the
        bench; the consoles are detached then, and no new life of the box makes that good."""
        try:
            self._confirm_ours()
        except BenchLost as lost:
            if not self._lost:
                self._lost = lost.message
                self.note(lost.message)
            self.vitals.report_death(lost.message)
            self.lines.detach()
            raise

    def endpoint(self) -> Endpoint:
        """Where SSH answers. Raises RigError when the box is off, BenchLost."""
        self.confirm_ours()
        if self._is_on is False:
            raise RigError(f"{self.serial} is off")
        return self.config.endpoint

    def open(self, *, by: Deadline) -> None:
        """Attach the consoles; a box that is on is left alone, one that does not answer gets power.

        Raises as ``on``, Unreachable for a serial line; without power also for a silent box. A box
        that was seen to boot from that power loses it again with ``close``, also after an error.
        """
        with self._lock:
            self.confirm_ours()
            self.lines.attach(by=by)
            self._is_on = True if answers(self.config.endpoint) else None
            if self._is_on or not self.has_power:
                self._awake(by.sooner(ANSWER_SECONDS))
                return
            self.note("SSH does not answer: giving power")
            self._ours, mark = True, self.lines.mark()
            try:
                self.on(by=by.sooner(BOOT_SECONDS))
            except BaseException:
                # Nothing that a boot prints: it may have been on all the time, for somebody else.
                self._ours = bool(self.lines.boot_text(mark))
                raise

    def on(self, *, by: Deadline) -> None:
        """Give power; returns when the shell answers. Already on: nothing happens.

        Raises BoxDied quoting the console when the box dies (also earlier), RigError when the
        switch fails or the box never was off, DeadlineExpired, Unreachable.
        """
        with self._lock:
            self.confirm_ours()
            if self._is_on:
                self.vitals.check()
                return
            settle(self.config, self._off_at, by=by)
            self.lines.attach(by=by)
            self.vitals.reset()
            mark = self.lines.mark()
            started = time.monotonic()
            self.lines.begin(started)
            self._do("on", by)
            before = self._boot_id
            self._awake(by)
            if before and self._off_at and before == self._boot_id:
                raise RigError(
                    f"{self.serial} came back in the life that it had before it was switched off",
                    hint="The power switch is another box's, or the box has a second supply.",
                )
            said = self.lines.boot_text(mark)
            self.note(f"on after {time.monotonic() - started:.1f} s, {said or 'no boot text'!r}")

    def off(self) -> None:
        """Pull the plug; returns when the box is seen to be off. Already off: nothing happens.

        Raises RigError when the switch fails, and when the box goes on talking.
        """
        with self._lock:
            self.confirm_ours()
            if self._is_on is False:
                return
            # Silence on a line that nobody listens to is no evidence.
            self.lines.attach_if_there(by=Deadline.after(ATTACH_SECONDS))
            by = Deadline.after(self._off_seconds + self._seconds)
            self._is_on = None
            self._do("off", by)
            # Who waits for this box waits in vain; its connections never hear a goodbye.
            self.vitals.report_death(_CUT)
            still = alive(self.config, self.lines, by=by)
            if still:
                raise RigError(
                    f"{self.serial} was switched off, but {still}",
                    hint="The power switch is another box's, or the box has a second supply.",
                )
            self.vitals.reset()
            self._is_on, self._off_at = False, time.monotonic()
            ended = self.lines.ended
            heard = (
                f"the serial line ended ({', '.join(ended)})" if ended else "the console is silent"
            )
            self.note(f"off: {heard}, SSH is gone")

    def cycle(self, *, by: Deadline) -> Cycled:
        """Off and on, with evidence; a switch that can only cycle is asked for that.

        Raises as ``on`` and ``off``, MissingCapability without any switch.
        """
        with self._lock:
            self.confirm_ours()
            started, before, mark = time.monotonic(), self._boot_id, self.lines.mark()
            if self.has_power:
                self.off()
                self.on(by=by)
            else:
                self.lines.begin(started)
                self._do("cycle", by)
                self.vitals.report_death("its power was cycled by the bench")
                self.reborn(mark, by=by)
            evidence = Cycled(
                before, self._boot_id, self.lines.boot_text(mark), time.monotonic() - started
            )
            self.note(f"cycled in {evidence.seconds:.1f} s: {evidence}")
            return evidence

    def reborn(self, mark: int, *, by: Deadline) -> str:
        """Wait for the boot that follows a reset; ``mark`` is from ``lines.mark()`` before it.

        Returns the new boot id. Raises as ``on``; DeadlineExpired when the old life goes on.
        """
        with self._lock:
            self.confirm_ours()
            before = self._boot_id
            self.vitals.reset()
            self._is_on = None  # as long as it boots, nobody listens, and that is no news
            while True:
                self.confirm_ours()
                self.lines.attach(by=by)
                self._awake(by)
                if self._boot_id != before and (before or self.lines.boot_text(mark)):
                    return self._boot_id
                what = f"another boot of {self.serial}"
                threading.Event().wait(by.slice(what, 1.0))

    def awake(self, *, by: Deadline) -> str:
        """Log in anew and return the boot id; a box that nobody found for a while may be back.

        Raises as ``ssh_transport.connect``, BoxDied for one that was seen to die.
        """
        with self._lock:
            self.confirm_ours()
            # A switch may not have obeyed (a wrong relay): the box tells whether it is there.
            if self.vitals.cause in (self._missed, _CUT):
                self.vitals.reset()
            return self._awake(by)

    def restore(self, *, by: Deadline) -> None:
        """By the entry's own program; returns when the shell answers. The host key must stay.

        Raises MissingCapability when the entry has none: nobody else can undo what was done to a
        real box. RigError when the program fails, and as ``on``.
        """
        restore = self.config.restore
        if restore is None:
            raise MissingCapability(self.config.name, ["restore"])
        with self._lock:
            self.confirm_ours()
            started = time.monotonic()
            self._is_on = None
            self.vitals.report_death("the bench puts it back into its delivered state")
            said = run_command(restore.argv, by=by.sooner(restore.seconds))
            self.confirm_ours()
            self.lines.begin(started)
            self.vitals.reset()
            self._boot_id, self._off_at = "", 0.0
            self.lines.attach(by=by)
            if self.has_power and not answers(self.config.endpoint):
                self._do("on", by)
            self._awake(by)
            self.note(f"restored in {time.monotonic() - started:.1f} s: {said or 'done'}")

    def note(self, line: str) -> None:
        """One line for the rig's log, with the time of day."""
        self._said.append(f"{time.strftime('%H:%M:%S')} {line}")

    def log(self) -> str:
        return "\n".join(self._said)

    def close(self) -> None:
        """As the interface says: off only if it was we who switched on, and nobody else has the
        bench meanwhile. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self._ours:
                    with contextlib.suppress(BenchLost):
                        self.off()
            finally:
                self.lines.close()
                self._give_back()

    def _awake(self, by: Deadline) -> str:
        self._boot_id = boot_id(self.config.endpoint, self.vitals, by=by)
        self._is_on = True
        return self._boot_id

    def _examine(self, by: Deadline) -> None:
        """Nobody at the address is proof; silence is not: a busy box may be silent, too."""
        life = self.vitals.life
        gone = self._is_on and nobody_listens(self.config.endpoint, by=by)
        if gone and self._is_on and life == self.vitals.life:  # else we switched meanwhile
            where = f"{self.config.endpoint.host}:{self.config.endpoint.port}"
            self._missed = f"nobody listens at {where} any more, as without power"
            self.vitals.report_death(self._missed)

    def _do(self, action: Action, by: Deadline) -> None:
        if self._switch is None or not self._switch.can(action):
            raise MissingCapability(self.config.name, ["power"])
        self.confirm_ours()
        said = self._switch.do(action, by=by)
        self.note(f"power {action}: {said or 'done'}")

    @property
    def _seconds(self) -> float:
        return self.config.power.answer_seconds if self.config.power is not None else 0.0
