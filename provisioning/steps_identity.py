"""The steps that give the box its identity: a certificate for its key, and its installation."""

from __future__ import annotations

import hashlib

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import BadInput, DeviceRefused, IntegrityFailure
from provisioning.certificates import der, pem
from provisioning.csr import UNREADABLE, checked_request
from provisioning.enrolling import is_ours, judge_of, serving_path
from provisioning.enrolling_est import (
    enrolled,
    enrolled_bound,
    forget_parked,
    is_to_renew,
    note_request,
    renewed,
)
from provisioning.giving_up import note_issued, was_read_back
from provisioning.idevid import NO_END, hardware_serial, period
from provisioning.issued import keep_issued, last_issued, numbers_issued
from provisioning.private_files import read_bounded, write_durably
from provisioning.record import intended, observed
from provisioning.token_public import KeyProfile
from provisioning.work import Work, need

_LARGEST = 65536


class CertificateStep:
    """A certificate for the device key, checked and kept beside the record before it is used.

    The station's CA issues it, or an EST server does, as the plan says. What is beside the record::

        request.der           the request: repeated as it is, for EST wants the same octets again
        renewal.der           the same for a renewal, until it is through
        est-parked.json       an enrollment that the server put off
        issued/NUMBER.pem     every certificate that came for the key, before it was judged,
                              and the issuers that the server sent along
        device.pem chain.pem root.pem    the one that counts, its issuers, the root
    """

    name, doing, seconds = "certificate", "having the device key certified", 300.0

    def __init__(self) -> None:
        self._ending: tuple[x509.Certificate, ...] | None = None
        """The certificate, with its issuers, that the plan wants renewed."""

    def probe(self, work: Work, by: Deadline) -> str | None:
        """What the box shows counts; then what an earlier run had issued but not installed, or did
        not live to judge.
        """
        for found in (work.box.identity.chain(by=by), self._kept(work), last_issued(work)):
            path = serving_path(work, found, judge_of(work)) if found else None
            if path is None:
                continue
            if is_to_renew(work, path[0]):
                self._ending = self._ending or path
                continue
            note_issued(work, path[0])
            self._compare(work, path[0])
            self._keep(work, path)
            return f"certificate {self._described(work)} is issued"
        return None

    def act(self, work: Work, by: Deadline) -> None:
        judge = judge_of(work)  # refused before anything is asked for: a CA takes nothing back
        if work.plan.est is None:
            issued = self._of_the_station(work, self._request(work, by), by)
            keep_issued(work, issued)
            others: tuple[x509.Certificate, ...] = ()
        elif self._ending is not None:
            issued, others = renewed(work, self._ending, by=by)
        elif work.plan.est.proof:
            issued, others = enrolled_bound(work, by=by)
        else:
            issued, others = enrolled(work, self._request(work, by), by=by)
        work.issued = (*work.issued, issued)
        path = judge.path(
            issued,
            key=need(work.key, "the key").public_key,
            serial=work.box.target.serial,
            also=others,
        )
        self._keep(work, path)
        forget_parked(work)  # after the certificate is safe

    def confirm(self, work: Work, by: Deadline) -> str:
        how = "issued" if self._ending is None else "renewed"
        return f"certificate {self._described(work)} {how} by {_whom(work)} and checked"

    @staticmethod
    def _compare(work: Work, leaf: x509.Certificate) -> None:
        """A certificate that serves is kept, however long it was to be good: a renewal is asked
        for.
        """
        wanted, has = work.plan.validity_days, period(leaf)
        if not is_ours(work.plan) or has == wanted:
            return
        work.differs.append(
            f"the plan's validity_days is {wanted or 'unlimited'}, and the certificate"
            f" {leaf.serial_number:x} has {'no end' if has is None else f'{has} days'}: it is left"
            f" as it is. For another: trustbox ca renew --device {work.box.target.serial}"
            f" --days {wanted or 'unlimited'} --now --out new.pem, and trustbox keys install"
            f" {work.plan.key_purpose} new.pem --root {work.directory / 'root.pem'}"
            f" --serial {work.box.target.serial}"
        )

    @staticmethod
    def _of_the_station(work: Work, request: bytes, by: Deadline) -> x509.Certificate:
        ca, serial, days = work.authority(), work.box.target.serial, work.plan.validity_days
        return ca.certify(request, serial, days=days, replaces=work.replaces, run=work.run, by=by)

    @staticmethod
    def _request(work: Work, by: Deadline) -> bytes:
        """The kept one if it is for this key, else one that is signed in the TEE now."""
        key, place = need(work.key, "the key"), work.directory / "request.der"
        try:
            kept = read_bounded(place, _LARGEST)
            asked = checked_request(kept, work.box.target.serial, allowed=tuple(KeyProfile))
            if asked == key.public_key:
                note_request(work, kept)
                return kept
        except (BadInput, DeviceRefused):
            pass  # none, or of another box's or time's: made anew
        made = work.box.identity.request(key, by=by)
        write_durably(place, made, mode=0o644)
        note_request(work, made)
        return made

    @staticmethod
    def _kept(work: Work) -> tuple[x509.Certificate, ...]:
        try:
            kept = (work.directory / "device.pem").read_bytes()
            above = (work.directory / "chain.pem").read_bytes()
            return tuple(x509.load_pem_x509_certificates(kept + above))
        except (OSError, *UNREADABLE):
            return ()

    @staticmethod
    def _keep(work: Work, path: tuple[x509.Certificate, ...]) -> None:
        work.chain, root = path, judge_of(work).root
        for name, content in (
            ("device.pem", pem(path[0])),
            ("chain.pem", pem(*path[1:], root)),
            ("root.pem", pem(root)),
        ):
            write_durably(work.directory / name, content, mode=0o644)

    @staticmethod
    def _described(work: Work) -> str:
        leaf, judge = need(work.chain, "the certificate")[0], judge_of(work)
        until = leaf.not_valid_after_utc
        seen = numbers_issued(work)
        work.note(
            "certificate",
            hardware_serial=observed(hardware_serial(leaf) if judge.idevid else None),
            **{name: observed(found) for name, found in told(leaf).items()},
            sha256=observed(hashlib.sha256(der(leaf)).hexdigest()),
            path_verified=observed(True),
            files=observed(["device.pem", "chain.pem", "root.pem"]),
            asked_of=intended(_whom(work)),
            # A CA that forgets issues twice: those that do not count are somebody's to revoke.
            superseded=observed([n for n in seen if n != f"{leaf.serial_number:x}"]),
        )
        end = "without end" if until == NO_END else f"valid to {until:%Y-%m-%d}"
        return f"for {work.box.target.serial}, {end},"


def told(leaf: x509.Certificate) -> dict[str, str]:
    """What a record says of a certificate in words, all of which its octets say."""
    return {
        "subject": leaf.subject.rfc4514_string(),
        "issuer": leaf.issuer.rfc4514_string(),
        "serial": f"{leaf.serial_number:x}",
        "not_before": leaf.not_valid_before_utc.isoformat(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
    }


class InstallStep:
    """The certificate on the box: beside its key in the token, and with its issuer in a file."""

    name, doing, seconds = "install", "installing the certificate on the box", 60.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        if not self._there(work, by):
            return None
        was_read_back(work, by)
        return f"token and {work.box.identity.chain_path} hold it"

    def act(self, work: Work, by: Deadline) -> None:
        key, chain = need(work.key, "the key"), need(work.chain, "the certificate")
        work.box.identity.install(key, chain, by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        if not self._there(work, by):
            raise IntegrityFailure("the box does not show the certificate that was installed")
        was_read_back(work, by)
        return f"token and {work.box.identity.chain_path} hold it, read back byte for byte"

    @staticmethod
    def _there(work: Work, by: Deadline) -> bool:
        key, chain = need(work.key, "the key"), need(work.chain, "the certificate")
        there = work.box.identity.installed(key, chain, by=by)
        path = work.box.identity.chain_path
        work.note("certificate", installed=observed(there), file=observed(path))
        return there


def _whom(work: Work) -> str:
    if work.plan.est is None:
        return "the station's CA"
    return f"EST at {work.plan.est.server}" if work.plan.est.server else "the station's EST server"
