"""Whether a CA's files are all there and belong together. Reads files only, and changes none.

What the CA signed stands in its index; the certificates and CRLs beside it are what others were
given. An index that lacks any of that is lost or an old copy: whatever was signed with it would
turn back a revocation or use a number twice. Then everything stops, until ``trustbox ca recover``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from cryptography import x509

from harness.errors import IntegrityFailure, Misuse
from provisioning.authority_files import CaFiles
from provisioning.authority_publish import BELOW, crl_number

_SIGNED = ("root.pem", "issuing.pem", "root.crl", "issuing.crl")
_RECOVER = (
    "Nothing was signed. Bring back the newest index.sqlite; if that is gone, trustbox ca recover"
    " makes one, from a backup or from CRLs and records."
)


class Stage(Enum):
    """How far the ceremony came."""

    NONE = "nothing was made"
    BEGUN = "begun, or a file is missing that the index can give back"
    SET_UP = "all of it is there"


def stage(files: CaFiles, *, settings: bool = True) -> Stage:
    """``settings`` False: lost ones are no reason to stop, they are going to be given again.

    Raises Misuse, saying what is lost and what to do, when one is lost or older than the others,
    and IntegrityFailure when the issuing CA is not the root's.
    """
    there = [name for name in _SIGNED if (files.ca / name).exists()]
    if not files.index.exists():
        if there:
            raise Misuse(
                f"{files.index.path} is lost, the index of what the CA signed, and"
                f" {', '.join(there)} are there",
                hint=_RECOVER,
            )
        return Stage.NONE
    signed = any(entry.certificate for entry in files.index.of_role("root"))
    if settings and not (files.ca / "ca.json").exists() and (there or signed):
        raise Misuse(
            f"{files.ca / 'ca.json'} is lost, which says where the CA's keys are",
            hint="Bring it back, or give its settings again: trustbox ca init with the options of"
            " the first time (--root-token, --issuing-token). No key is made by that.",
        )
    for problem in _behind(files):
        raise Misuse(f"the CA's index is not the newest one: {problem}", hint=_RECOVER)
    whole = len(there) == len(_SIGNED) and (files.ca / "ca.json").exists()
    return Stage.SET_UP if whole else Stage.BEGUN


def require_set_up(files: CaFiles) -> None:
    """Raises Misuse unless the CA is set up, whole, and its index not behind what is published."""
    found = stage(files)
    if found is Stage.SET_UP:
        return
    if found is Stage.NONE and (left := remains(files.ca.parent)):
        raise lost(files, left)
    if found is Stage.NONE:
        raise Misuse(
            f"the CA in {files.ca} is not set up",
            hint="Is --state right? If it is: trustbox ca init sets it up.",
        )
    missing = [name for name in _SIGNED if not (files.ca / name).exists()]
    raise Misuse(
        f"the CA in {files.ca} is not set up: {', '.join(missing) or 'ca.json'} is not there",
        hint="trustbox ca init goes on where it was stopped, and puts back what the index holds.",
    )


def remains(state: Path) -> list[str]:
    """What tells that a station's directory had a CA: its own tokens, and records of boxes."""
    tokens = [name for name in ("hsm", "hsm-root") if any((state / name).glob("tokens/*"))]
    records = sorted(
        place.parent.name
        for name in ("record.json", "device.pem")
        for place in (state / "records").glob(f"*/{name}")
    )
    return tokens + ([f"records of certified boxes ({records[0]}, …)"] if records else [])


def lost(files: CaFiles, left: list[str]) -> Misuse:
    """``left``: see ``remains``."""
    return Misuse(
        f"the CA of this station is lost: {files.ca} is empty, and there are {', '.join(left)}",
        hint="Nothing was made. Bring back ca/ (and hsm/) from the backup; trustbox ca recover"
        " makes its index if that is too old. Only if all of it is gone for good, and the boxes"
        " are to be certified anew by another root: trustbox ca init --new-ca.",
    )


def _behind(files: CaFiles) -> Iterator[str]:
    """Each thing that was published and that the index does not know."""
    index = files.index
    if files.has("root") and files.has("issuing") and not files.issuing_is_the_roots():
        raise IntegrityFailure(
            "issuing.pem is not signed by root.pem's key",
            hint="One of both is of another CA: bring back the right one.",
        )
    for role in ("root", "issuing"):
        if not files.has(role):
            continue
        found = files.certificate(role)
        entry = index.get(found.serial_number)
        if entry is None or entry.role != role or entry.certificate != found:
            yield f"it does not know {role}.pem ({found.serial_number:x})"
        published = files.crl(role)
        if published is None:
            if files.crl_path(role).exists():
                raise Misuse(
                    f"{files.crl_path(role)} cannot be read: whether the index is behind it is"
                    " not known",
                    hint="Bring back the file from where it is handed out. If nobody has it,"
                    " delete it: trustbox ca init makes another of the index.",
                )
            continue
        yield from _crl_behind(files, role, found, published)


def _crl_behind(
    files: CaFiles,
    role: str,
    issuer: x509.Certificate,
    published: x509.CertificateRevocationList,
) -> Iterator[str]:
    index, number = files.index, crl_number(published)
    if not published.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]  # a CA's
        raise Misuse(
            f"{files.crl_path(role)} is not signed by the key of {role}.pem",
            hint="Bring back the CRL of this CA from where it is handed out.",
        )
    last = index.last_crl(role)
    if number > last:
        yield f"{role}.crl has number {number}, the last one that it knows is {last}"
    kept = index.crl(role, number)
    if kept is not None and kept != files.crl_path(role).read_bytes():
        yield f"{role}.crl has number {number}, for which it holds another CRL"
    known = index.revoked_numbers(BELOW[role])
    unknown = sorted({entry.serial_number for entry in published} - known)
    if unknown:
        yield f"{role}.crl revokes {unknown[0]:x}, of which it knows nothing"
