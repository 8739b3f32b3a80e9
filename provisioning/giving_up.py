"""What becomes of a certificate that a run had issued: read back from the box, or to be revoked.

A run that ends because the box is not what it must be has certified what it should not have: that
certificate goes onto the CA's list of those to revoke. One that ends otherwise leaves it as it is,
unfinished, and the next run takes it up.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, TrustBoxError, UntrustedHost
from provisioning.enrolling import is_ours
from provisioning.work import Work, need

_SECONDS = 30.0


def note_issued(work: Work, found: x509.Certificate) -> None:
    """An earlier run had it issued; if that one did not read it back, it is this run's now."""
    if is_ours(work.plan):
        entry = work.authority().index.get(found.serial_number)
        if entry is not None and entry.status == "unfinished":
            work.issued = (*work.issued, found)


def was_read_back(work: Work, by: Deadline) -> None:
    """The box shows the run's certificate: from now on it is the one that counts."""
    if is_ours(work.plan):
        work.authority().read_back(need(work.chain, "the certificate")[0], by=by)


def is_the_boxes_fault(problem: BaseException) -> bool:
    """The box is not what it must be. A server that nobody trusts, or a person's Ctrl-C, says
    nothing about the box.
    """
    return isinstance(problem, IntegrityFailure | UntrustedHost)


def give_up(work: Work, why: str) -> Iterator[str]:
    """Put what the run had issued onto the CA's list; a sentence about each, for people."""
    for found in work.issued:
        number, serial = f"{found.serial_number:x}", work.box.target.serial
        if not is_ours(work.plan):
            issuer = found.issuer.rfc4514_string()
            yield f"certificate {number} of {serial} is to be revoked by its CA ({issuer}): {why}"
            continue
        try:
            by = Deadline.after(_SECONDS)
            work.authority().to_revoke(found, f"run {work.run}: {why}", by=by)
            yield f"certificate {number} of {serial} is to be revoked: trustbox ca revoke --pending"
        except TrustBoxError as problem:
            yield (
                f"certificate {number} of {serial} must be revoked, and could not be put onto the"
                f" CA's list ({problem.message}): trustbox ca revoke {number}"
            )
