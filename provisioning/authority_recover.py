"""A lost index made anew, of all that is left. A person's explicit act (``trustbox ca recover``).

What was revoked stays so: the revocations of every copy and every CRL are put together, each with
the worst reason that was given. The next CRL gets a number above every one that was published.
Certificates that no record and no copy holds cannot be known.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from harness.errors import IntegrityFailure, Misuse
from provisioning.authority_entry import Entry
from provisioning.authority_files import CaFiles
from provisioning.authority_index import Index, KeptCrl
from provisioning.authority_policy import DEVICE
from provisioning.authority_publish import BELOW
from provisioning.authority_reasons import worse
from provisioning.authority_sources import Ca, Source, of_certificates, of_crl, of_index, of_records
from provisioning.authority_state import Stage, stage
from provisioning.file_trouble import on_disk
from provisioning.journal import Journal, now
from provisioning.private_files import sync_directory


@dataclass(frozen=True, slots=True)
class Recovery:
    """What an index would hold. ``numbers_only``: revoked, and nobody has their certificates."""

    issuing: x509.Certificate
    sources: tuple[str, ...]
    entries: tuple[Entry, ...]
    crls: tuple[KeptCrl, ...]

    @property
    def numbers_only(self) -> tuple[Entry, ...]:
        return tuple(e for e in self.entries if e.role == DEVICE.role and e.certificate is None)

    @property
    def next_crl(self) -> dict[str, int]:
        last = dict.fromkeys(BELOW, 0)
        for crl in self.crls:
            last[crl.issuer] = max(last[crl.issuer], crl.number)
        return {role: number + 1 for role, number in last.items()}

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        boxes = [entry for entry in self.entries if entry.role == DEVICE.role]
        return {
            "issuing": f"{self.issuing.serial_number:x}",
            "sources": list(self.sources),
            "certificates": len(boxes),
            "boxes": len({entry.device.lower() for entry in boxes if entry.device}),
            "revoked": sum(entry.revoked is not None for entry in self.entries),
            "next_crl": self.next_crl,
            "numbers_only": [f"{entry.number:x}" for entry in self.numbers_only],
            "unfinished": [f"{e.number:x}" for e in boxes if e.status == "unfinished"],
        }


def planned(
    files: CaFiles,
    records: Path,
    *,
    backup: Path | None = None,
    also: Iterable[Path] = (),
    crls: Iterable[Path] = (),
) -> Recovery:
    """What is left of the CA, put together; changes nothing.

    ``records``: the station's own; ``also``: directories with more certificates; ``crls``: CRLs
    besides those in the CA's directory. Raises Misuse when the index is there and whole and nothing
    is to be added to it, or when there is nothing to go by.
    """
    more, given = list(also), list(crls)
    for place in more:
        if not place.is_dir():
            raise Misuse(f"{place}, where more certificates would be, is no directory")
    if not more:
        _refuse_whole(files, given)
    ca = _certificates(files)
    sources = [of_certificates(ca.root, role="root", said="root.pem")]
    sources.append(of_certificates(ca.issuing, role="issuing", said="issuing.pem"))
    if files.index.exists():
        sources += _present(files, ca)
    if backup is not None:
        sources.append(of_index(backup, f"the backup {backup}", ca))
    there = [files.crl_path(role) for role in BELOW if files.crl_path(role).exists()]
    # The last one of a number counts: that in ca/, which every command compares with the index.
    sources += [of_crl(place, ca) for place in [*given, *there]]
    sources += [of_records(place, ca) for place in [records, *more] if place.is_dir()]
    known = {crl.issuer for source in sources for crl in source.crls}
    if missing := [f"{role}.crl" for role in BELOW if role not in known]:
        raise Misuse(
            f"{' and '.join(missing)} cannot be found, nor a copy of the index: what was revoked is"
            " not known",
            hint="Fetch it from where it is handed out, and give it with --crl.",
        )
    kept: dict[tuple[str, int], KeptCrl] = {}
    for crl in (crl for source in sources for crl in source.crls):
        if crl.der is not None or (crl.issuer, crl.number) not in kept:
            kept[crl.issuer, crl.number] = crl
    return Recovery(
        ca.issuing,
        tuple(source.said for source in sources),
        _merged(entry for source in sources for entry in source.entries),
        tuple(kept[key] for key in sorted(kept)),
    )


def carried_out(files: CaFiles, found: Recovery) -> Path | None:
    """Put the index in its place; what was there is kept aside: its name. Holds nothing back when
    it fails: run again. The caller holds the CA's lock.
    """
    scratch = Index(files.ca / ".index.recovered")
    with Journal(files.ca / "ceremony.jsonl", secrets.token_hex(8)) as journal:
        attempt = journal.begin("recover", f"making the index of {', '.join(found.sources)}")
        try:
            with on_disk(scratch.path, "removed"):
                scratch.path.unlink(missing_ok=True)
            scratch.create()
            scratch.restore(found.entries, found.crls)
            aside = _aside(files.index.path)
            with on_disk(files.index.path):
                scratch.path.replace(files.index.path)
                sync_directory(files.ca)
            if stage(files, settings=False) is Stage.NONE:
                raise IntegrityFailure("the index that was made does not read back")
        except BaseException as problem:
            attempt.failed(f"{type(problem).__name__}: {problem}")
            raise
        attempt.done(f"{len(found.entries)} certificates, next CRL numbers {found.next_crl}")
    return aside


def _aside(index: Path) -> Path | None:
    """An index that is there keeps its octets under another name, and its journal goes with it: it
    would be taken for one of the new file. The old name stays until the new file takes it: at no
    moment is there no index.
    """
    stamp = now().replace(":", "").replace("+0000", "Z")
    kept = index.with_name(f"index-{stamp}.sqlite")
    with on_disk(index, "put aside"):
        there = index.exists()
        if there:
            kept.hardlink_to(index)
        journal = index.with_name(f"{index.name}-journal")
        if journal.exists():
            journal.rename(kept.with_name(f"{kept.name}-journal"))
    return kept if there else None


def _refuse_whole(files: CaFiles, given: Iterable[Path]) -> None:
    if not files.index.exists():
        return
    try:
        stage(files, settings=False)
    except Misuse:
        return
    if any(_is_news(files.index, of_crl(place, _certificates(files))) for place in given):
        return
    raise Misuse(
        f"{files.index.path} is there, and whole: there is nothing to recover",
        hint="To add certificates that it does not know, name their directory: --records DIR. If"
        " all of ca/ is an old copy, give the CRLs that are handed out: --crl FILE.",
    )


def _is_news(index: Index, published: Source) -> bool:
    """Whether a CRL tells that all of ca/ is an old copy: of a higher number, or revoking more."""
    return any(
        crl.number > index.last_crl(crl.issuer)
        or {entry.number for entry in published.entries} - index.revoked_numbers(BELOW[crl.issuer])
        for crl in published.crls
    )


def _certificates(files: CaFiles) -> Ca:
    if not (files.has("root") and files.has("issuing")):
        raise Misuse(
            f"root.pem and issuing.pem must be in {files.ca}: they say whose index is made",
            hint="They are no secrets: bring them back from the backup. root.pem is beside every"
            " record, and issuing.pem the first certificate in its chain.pem.",
        )
    if not files.issuing_is_the_roots():
        raise IntegrityFailure("issuing.pem is not signed by root.pem's key")
    return Ca(files.certificate("root"), files.certificate("issuing"))


def _present(files: CaFiles, ca: Ca) -> list[Source]:
    """The index that is there: an older one is a copy like any other, a damaged one is left out."""
    place = files.index.path
    try:
        return [of_index(place, f"the older {place.name} that is there", ca)]
    except Misuse as problem:
        return [Source(f"nothing of the index that is there: {problem.message}")]


def _merged(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """One entry for each number, oldest first."""
    found: dict[int, Entry] = {}
    for entry in entries:
        before = found.get(entry.number)
        found[entry.number] = entry if before is None else _both(before, entry)
    return tuple(sorted(found.values(), key=lambda entry: entry.begun))


def _both(one: Entry, other: Entry) -> Entry:
    """All that either knows. A certificate that is known beats a number alone."""
    known, more = (one, other) if one.certificate or not other.certificate else (other, one)
    if known.certificate and more.certificate and known.certificate != more.certificate:
        raise IntegrityFailure(f"there are two certificates with the number {one.number:x}")
    dates = [each.revoked for each in (one, other) if each.revoked is not None]
    return replace(
        known,
        revoked=min(dates, default=None),
        reason=worse(one.reason, other.reason),
        run=known.run or more.run,
        replaces=known.replaces if known.replaces is not None else more.replaces,
        read_back=known.read_back or more.read_back,
        superseded=known.superseded or more.superseded,
        to_revoke=known.to_revoke or more.to_revoke,
        begun=min(known.begun, more.begun),
    )
