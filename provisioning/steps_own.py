"""The steps before anything is made on a box: is its identity its own, and has it one already?"""

from __future__ import annotations

from harness.boot_findings import findings
from harness.boot_registers import read_in_linux
from harness.boot_stages import merged
from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.certified import judge_token, may_make_ca
from provisioning.enrolling import is_ours
from provisioning.info import MOST_LINES
from provisioning.record import observed
from provisioning.shared_identity import boot_was_heard, shared_identity
from provisioning.work import Work


class EarlierStep:
    """A box that was certified still has the token that its key is in; see ``certified``."""

    name, doing, seconds = "earlier", "looking whether it was certified before", 60.0

    def look(self, work: Work, by: Deadline) -> str:
        if is_ours(work.plan):
            may_make_ca(work, by)  # or it is refused, before anything is made on the box
        return judge_token(work, by)


class OwnIdentityStep:
    """A box with an identity that others share is not enrolled, or is marked if the plan says so.

    Where no boot was heard on a UART and Linux shows no register of the fuses nothing is known:
    the record then has no ``is_test``. Such a box is not enrolled either, but where it is an
    emulator's, whose identity is public anyway, or the plan accepts it.
    """

    name, doing, seconds = "own-identity", "looking whether its identity is its own", 60.0

    def look(self, work: Work, by: Deadline) -> str:
        target = work.box.target
        lines = merged(*(uart.lines(since=uart.began) for uart in target.consoles.values()))
        registers = read_in_linux(target.shell, by=by)
        why = shared_identity(findings(lines[-MOST_LINES:]), registers, work.tee_uuid)
        heard = boot_was_heard(lines[-MOST_LINES:])
        work.note(
            "own_identity",
            console_lines=observed(len(lines)),
            boot_heard=observed(heard),
            registers=observed(None if registers.absent else registers.source),
        )
        if not why and not heard and registers.absent:
            return self._unknown(work)
        work.note("own_identity", is_test=observed(bool(why)), why=observed(list(why)))
        if not why:
            return "nothing says that other boxes share its identity"
        if not work.plan.mark_unfused:
            raise IntegrityFailure(
                f"{target.serial} is not enrolled, as its identity is not its own: {why[0]}",
                hint="A box gets its own by its fuses. To enroll one for tests, with a record that"
                ' says so: unfused = "mark" in [integrity] of the plan.',
            )
        return f"NOT ITS OWN, marked as a test box, as the plan says: {'; '.join(why)}"

    @staticmethod
    def _unknown(work: Work) -> str:
        target = work.box.target
        said = "no boot was heard on a UART, and Linux shows no register of the fuses"
        if work.plan.accept_unknown:
            return f"whether others share its identity is UNKNOWN: {said}; the plan accepts that"
        if target.evidence_level is EvidenceLevel.FUNCTIONAL:
            return f"whether others share its identity is unknown: {said}; an emulator's is public"
        raise IntegrityFailure(
            f"{target.serial} is not enrolled, as nobody knows whether its identity is its own:"
            f" {said}",
            hint="Switch the box off and run the command again, with its UART in targets.toml: then"
            " its boot is heard. Or have Linux show the fuses (driver layerscape-sfp). To enroll"
            ' it all the same, with a record that says so: unknown = "accept" in [identity] of the'
            " plan.",
        )
