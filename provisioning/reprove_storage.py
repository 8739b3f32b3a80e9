"""What a record says was in the TEE's storage, asked for again: the sample enclave's counter."""

from __future__ import annotations

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, TeeRefused
from harness.tee_codes import TeeCode
from provisioning.incidents import first_seen
from provisioning.observe import of_storage
from provisioning.record import value
from provisioning.sample_enclave import SampleEnclave
from provisioning.work import Work, need


def storage(work: Work, by: Deadline) -> str:
    """It counts up only: one that is lower is that of an older storage, or of a new one."""
    sealed = value(work.earlier, "enclave", "counter")
    if not isinstance(sealed, int):
        return "the record has no sealed counter: whether the storage is the same is not known"
    judge_counter(work, counted(work, by), sealed)
    return f"the enclave's sealed counter is there, and not below {sealed}"


def counted(work: Work, by: Deadline) -> int:
    """Raises IntegrityFailure where the enclave cannot read what it sealed."""
    uuid = need(work.enclave_uuid, "the enclave")
    try:
        with work.box.enclave.open(uuid, by=by) as session:
            return SampleEnclave(session).read(by=by)
    except TeeRefused as refused:
        if of_storage(refused) or refused.code == TeeCode.SECURITY:
            raise IntegrityFailure(
                f"the enclave of {work.box.target.serial} cannot read what it sealed:"
                f" {refused.message}"
            ) from refused
        raise


def judge_counter(work: Work, found: int, sealed: int) -> None:
    """Raises IntegrityFailure for a counter that went back."""
    if found < sealed:
        serial = work.box.target.serial
        raise IntegrityFailure(
            f"the enclave's sealed counter of {serial} stands at {found}, and the record has"
            f" {sealed}: the TEE's storage was lost, made anew or put back"
            f"{first_seen(work.station, serial)}",
            hint="What was kept in it then is gone. Stop and look who wrote to its disk.",
        )


def judge_sealed(work: Work, found: int, by: Deadline) -> None:
    """In a run, before the enclave counts: as ``judge_counter``, where the token of that record is
    there still. A box that lost its token as well is judged by that.
    """
    same = value(work.earlier, "box", "tee_uuid") == str(work.tee_uuid)
    sealed = value(work.earlier, "enclave", "counter")
    if not same or not isinstance(sealed, int) or found >= sealed:
        return
    if not is_blank(work, by):
        judge_counter(work, found, sealed)


def is_replaced(work: Work, by: Deadline) -> bool:
    """Whether the TEE's storage is another one than the record's and a person said so: the token is
    blank, and its certificate is to be replaced. What the TEE kept there is then another, too.
    """
    return work.replaces is not None and is_blank(work, by)


def is_blank(work: Work, by: Deadline) -> bool:
    state = work.box.keys.state(work.plan.token_label, by=by)
    return state is None or not state.has_user_pin
