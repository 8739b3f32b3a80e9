"""The step before anything is made on a box: is its identity its own?"""

from __future__ import annotations

from harness.boot_findings import findings
from harness.boot_registers import read_in_linux
from harness.boot_stages import merged
from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.info import MOST_LINES
from provisioning.record import observed
from provisioning.shared_identity import shared_identity
from provisioning.work import Work


class OwnIdentityStep:
    """A box with an identity that others share is not enrolled, or is marked if the plan says so.

    What was not seen is not held against it: a log in which no boot was heard, registers that Linux
    does not show. The record says what was seen.
    """

    name, doing, seconds = "own-identity", "looking whether its identity is its own", 60.0

    def look(self, work: Work, by: Deadline) -> str:
        target = work.box.target
        lines = merged(*(uart.lines(since=uart.began) for uart in target.consoles.values()))
        registers = read_in_linux(target.shell, by=by)
        why = shared_identity(findings(lines[-MOST_LINES:]), registers, work.tee_uuid)
        work.note(
            "own_identity",
            is_test=observed(bool(why)),
            why=observed(list(why)),
            console_lines=observed(len(lines)),
            registers=observed(None if registers.absent else registers.source),
        )
        if not why:
            return "nothing says that other boxes share its identity"
        if not work.plan.mark_unfused:
            raise IntegrityFailure(
                f"{target.serial} is not enrolled, as its identity is not its own: {why[0]}",
                hint="A box gets its own by its fuses. To enroll one for tests, with a record that"
                ' says so: unfused = "mark" in [integrity] of the plan.',
            )
        return f"NOT ITS OWN, marked as a test box, as the plan says: {'; '.join(why)}"
