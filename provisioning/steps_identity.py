"""The steps that give the box its identity: a certificate for its key, and its installation."""

from __future__ import annotations

import hashlib

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.certificates import check_issued, der, fits, pem
from provisioning.csr import UNREADABLE
from provisioning.idevid import NO_END, hardware_serial
from provisioning.private_files import write_durably
from provisioning.record import observed
from provisioning.work import Work, need


class CertificateStep:
    """A certificate for the device key, checked and kept beside the record before it is used."""

    name, doing, seconds = "certificate", "having the device key certified", 120.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        """What the box shows counts; then what an earlier run had issued but not installed."""
        found = work.box.identity.chain(by=by)[:1] or self._kept(work)
        if not found or not self._serves(work, found[0]):
            return None
        self._keep(work, found[0])
        return f"certificate {self._described(work)} is issued"

    def act(self, work: Work, by: Deadline) -> None:
        request = work.box.identity.request(need(work.key, "the key"), by=by)
        issued = work.authority().certify(
            request, work.box.target.serial, days=work.plan.validity_days, by=by
        )
        self._check(work, issued)
        self._keep(work, issued)
        work.note("certificate", request_sha256=observed(hashlib.sha256(request).hexdigest()))

    def confirm(self, work: Work, by: Deadline) -> str:
        return f"certificate {self._described(work)} issued and checked"

    @staticmethod
    def _check(work: Work, found: x509.Certificate) -> None:
        ca, key = work.authority(), need(work.key, "the key")
        check_issued(
            found,
            key=key.public_key,
            serial=work.box.target.serial,
            issuing=ca.issuing,
            root=ca.root,
        )

    def _serves(self, work: Work, found: x509.Certificate) -> bool:
        key, serial = need(work.key, "the key"), work.box.target.serial
        issuing = work.authority().issuing
        try:
            if work.authority().is_revoked(found):
                return False
            if not fits(found, key=key.public_key, serial=serial, issuing=issuing):
                return False
            self._check(work, found)
        except IntegrityFailure:
            return False
        return True

    @staticmethod
    def _kept(work: Work) -> tuple[x509.Certificate, ...]:
        try:
            kept = (work.directory / "device.pem").read_bytes()
            return tuple(x509.load_pem_x509_certificates(kept)[:1])
        except (OSError, *UNREADABLE):
            return ()

    @staticmethod
    def _keep(work: Work, issued: x509.Certificate) -> None:
        ca = work.authority()
        work.chain = (issued, ca.issuing)
        for name, content in (
            ("device.pem", pem(issued)),
            ("chain.pem", pem(ca.issuing, ca.root)),
            ("root.pem", pem(ca.root)),
        ):
            write_durably(work.directory / name, content, mode=0o644)

    @staticmethod
    def _described(work: Work) -> str:
        leaf = need(work.chain, "the certificate")[0]
        until = leaf.not_valid_after_utc
        work.note(
            "certificate",
            subject=observed(leaf.subject.rfc4514_string()),
            hardware_serial=observed(hardware_serial(leaf)),
            issuer=observed(leaf.issuer.rfc4514_string()),
            serial=observed(f"{leaf.serial_number:x}"),
            not_before=observed(leaf.not_valid_before_utc.isoformat()),
            not_after=observed(until.isoformat()),
            sha256=observed(hashlib.sha256(der(leaf)).hexdigest()),
            path_verified=observed(True),
            files=observed(["device.pem", "chain.pem", "root.pem"]),
        )
        end = "without end" if until == NO_END else f"valid to {until:%Y-%m-%d}"
        return f"for {work.box.target.serial}, {end},"


class InstallStep:
    """The certificate on the box: beside its key in the token, and with its issuer in a file."""

    name, doing, seconds = "install", "installing the certificate on the box", 60.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        if not self._there(work, by):
            return None
        return f"token and {work.box.identity.chain_path} hold it"

    def act(self, work: Work, by: Deadline) -> None:
        key, chain = need(work.key, "the key"), need(work.chain, "the certificate")
        work.box.identity.install(key, chain, by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        if not self._there(work, by):
            raise IntegrityFailure("the box does not show the certificate that was installed")
        return f"token and {work.box.identity.chain_path} hold it, read back byte for byte"

    @staticmethod
    def _there(work: Work, by: Deadline) -> bool:
        key, chain = need(work.key, "the key"), need(work.chain, "the certificate")
        there = work.box.identity.installed(key, chain, by=by)
        path = work.box.identity.chain_path
        work.note("certificate", installed=observed(there), file=observed(path))
        return there
