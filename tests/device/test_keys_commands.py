"""``trustbox keys`` as it is typed, on a box that has its key and certificate.

These share one box; each leaves the device key with one certified generation, whichever it is. The
box that the commands open is the one under test, which stays open between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from provisioning.cli import keys_options
from provisioning.key_names import purpose_of
from provisioning.run import Outcome, Provisioned
from provisioning.station import Station
from provisioning.token_template import STRICT
from provisioning.trustbox import TrustBox
from tests.device.key_parts import READABLE
from tests.device.typed_keys import (
    Factory,
    certificate_for,
    everything,
    more_keys_only,
)

pytestmark = [
    pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def stations() -> list[Station]:
    """That of ``factory``, once it is there."""
    return []


@pytest.fixture
def factory(
    module_box: TrustBox,
    stations: list[Station],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    by: Deadline,
) -> Factory:
    """The box has its key and certificate: from now, or before. After a failure it is pristine."""

    @contextmanager
    def under_test(*_: object, lasting: str | None = None, **__: object) -> Iterator[Target]:
        yield replace(module_box.target, lasting=lasting == module_box.target.serial)

    monkeypatch.setattr(keys_options, "opened", under_test)
    if not stations or not module_box.identity.chain(by=by):
        stations[:] = [Station(tmp_path_factory.mktemp("factory") / "station")]
        module_box.close()
        Factory(module_box, stations[0]).run(everything)
    return Factory(module_box, stations[0])


def outcomes(run: Provisioned) -> dict[str, Outcome]:
    return {report.name: report.outcome for report in run.reports}


def test_list_shows_tokens_and_keys_and_no_key_without_the_pin(
    factory: Factory, tmp_path: Path
) -> None:
    told, text = factory.done("list"), factory.keys("list")
    nowhere = Factory(factory.box, Station(tmp_path / "nowhere")).keys("list", "--json")

    mine = {purpose_of(one["label"]): one for one in told["keys"]}["signing"]
    assert (mine["profile"], mine["trouble"]) == ("ec-p256", None)
    assert "user-pin-initialized" in text.out
    assert mine["cka_id"] in text.out
    assert (nowhere.status, nowhere.told["keys"], nowhere.told["logged_in"]) == (0, [], None)
    assert "its PIN is not known" in nowhere.err


def test_evidence_tells_three_verdicts_and_ends_by_them(factory: Factory) -> None:
    with factory.opened() as (box, by):
        foreign = ec.generate_private_key(ec.SECP256R1())
        ids = {name: box.keys.id_of(name) for name in ("foreign", "readable")}
        for name, template in (("foreign", STRICT), ("readable", READABLE)):
            box.keys.token.import_ec(ids[name], name, foreign, template=template, by=by)

    every = factory.keys("evidence", "signing", "foreign", "readable", "--json")
    accepted = factory.keys("evidence", "foreign", "--accept", "imported")
    unknown = factory.keys("evidence", "nobody")
    with factory.opened() as (box, by):
        for id in ids.values():
            box.keys.erase_id(id, by=by)

    found = {purpose_of(one["label"]): one for one in every.told["keys"]}
    verdicts = {label: one["verdict"] for label, one in found.items()}
    assert every.status == 7
    assert verdicts == {
        "signing": "made-inside", "foreign": "imported", "readable": "extractable"
    }  # fmt: skip
    assert found["foreign"]["reasons"]
    assert found["readable"]["reasons"]
    assert "foreign (imported), readable (extractable)" in every.err
    assert (accepted.status, "observed" in accepted.out) == (0, True)
    assert (unknown.status, "no key 'nobody'" in unknown.err) == (2, True)


def test_rotated_device_key_is_the_boxs_identity_and_the_old_one_is_retired(
    factory: Factory,
) -> None:
    """A profile that the CA does not certify makes no key: the rotation after it is the first."""
    refused = factory.keys("rotate", "device-id", "--profile", "rsa-4096")
    new = factory.done("rotate", "device-id")
    leaf = x509.load_pem_x509_certificate(factory.chain())
    gone = factory.done("retire", "device-id")

    assert (refused.status, "certifies no rsa-4096 key" in refused.err) == (2, True)
    assert (new["new"], new["certified"]) == (new["old"] + 1, True)
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert hashlib.sha256(spki).hexdigest() == new["spki_sha256"]
    assert gone["erased"] == [new["old"]]


def test_other_key_is_never_the_boxs_identity_and_rotates_without_a_certificate(
    factory: Factory, tmp_path: Path
) -> None:
    identity = factory.chain()
    file = tmp_path / "chain.pem"
    file.write_bytes(identity)
    root = factory.station.records(factory.box.target.serial) / "root.pem"
    refusals = [
        factory.keys("rotate", "signing"),
        factory.keys("install", "signing", file, "--root", root),
    ]
    new = factory.done("rotate", "signing", "--key-only")
    gone = factory.done("retire", "signing")
    again = factory.run(more_keys_only)

    for refused in refusals:
        assert refused.status == 2
        assert "signing is not the device key" in refused.err
    assert "keys rotate signing --key-only" in refusals[0].err
    assert (gone["erased"], new["certified"]) == ([new["old"]], False)
    assert outcomes(again)["keys"] is Outcome.ALREADY  # and not made again as the first
    assert factory.chain() == identity


def test_certificate_of_another_ca_is_installed_for_the_newest_key_only(
    factory: Factory, tmp_path: Path, by: Deadline
) -> None:
    identity = factory.chain()
    old, request = tmp_path / "old.pem", tmp_path / "box.csr"
    old.write_bytes(identity)

    new = factory.done("rotate", "device-id", "--key-only")
    asked = factory.done("request", "device-id", "--out", request)
    chain = certificate_for(factory, request, tmp_path / "chain.pem")
    root = chain.with_name("root.pem")
    foreign = factory.keys("install", "device-id", old, "--root", root)
    kept = factory.chain()
    placed = factory.done("install", "device-id", chain, "--root", root, "--idevid")
    gone = factory.done("retire", "device-id")

    assert (asked["generation"], asked["spki_sha256"]) == (new["new"], new["spki_sha256"])
    assert (foreign.status, kept) == (7, identity)
    assert (placed["generation"], placed["file"]) == (new["new"], factory.box.identity.chain_path)
    assert factory.chain() == chain.read_bytes()
    assert gone["erased"] == [new["old"]]


def test_key_is_erased_only_with_permission_for_this_box(factory: Factory) -> None:
    with factory.opened() as (box, by):
        spare, _ = box.keys.generate("spare", by=by)
    id, permit = spare.id.hex(), ("--lasting", factory.box.target.serial)

    refused = factory.keys("erase", id)
    gone = factory.done("erase", id, *permit)
    twice = factory.keys("erase", id, *permit)

    assert refused.status == 2
    assert f"--lasting {factory.box.target.serial}" in refused.err
    assert (gone["label"], gone["erased"]) == ("spare", ["private", "public"])
    assert (twice.status, "has nothing of id" in twice.err) == (2, True)


def test_device_keys_purpose_is_for_no_secret(factory: Factory, secret: Path) -> None:
    refused = factory.keys("import", "device-id", secret)

    assert (refused.status, "is the device key of" in refused.err) == (2, True)


@pytest.mark.needs(Capability.AGENT)
def test_secret_is_not_imported_beside_a_pair(factory: Factory, secret: Path) -> None:
    with factory.opened() as (box, by):
        pair, _ = box.keys.generate("pair", by=by)

    refused = factory.keys("import", "pair", secret)
    with factory.opened() as (box, by):
        found = [kind for kind, _, id in box.keys.token.objects(by=by) if id == pair.id]
        box.keys.erase(pair, by=by)

    assert (refused.status, "already" in refused.err) == (2, True)
    assert sorted(found) == ["private", "public"]


@pytest.mark.slow
@pytest.mark.needs(Capability.AGENT)
def test_imported_secret_is_in_the_token_and_called_imported(
    factory: Factory, secret: Path
) -> None:
    """Slow: the token makes an RSA key to wrap for."""
    made = factory.done("import", "storage", secret)

    judged = factory.keys("evidence", "storage", "--json")
    twice = factory.keys("import", "storage", secret)
    assert (made["profile"], judged.status) == ("aes-256", 7)
    assert [one["verdict"] for one in judged.told["keys"]] == ["imported"]
    assert (twice.status, "already" in twice.err) == (2, True)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.hex"
    file.touch(mode=0o600)
    file.write_text(bytes(range(32)).hex())
    return file
