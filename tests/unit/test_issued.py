"""Certificates that came are kept under their names, in the order in which they came."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioning.certificates import pem
from provisioning.idevid import validity
from provisioning.issued import keep_issued, last_issued, numbers_issued
from provisioning.work import Work

KEY = ec.generate_private_key(ec.SECP256R1())


def made(number: int, issuer: str = "line") -> x509.Certificate:
    """All of them begin at the same time."""
    begin, end = BEGIN
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), number, begin, end)
    return builder.sign(KEY, hashes.SHA256())


BEGIN = validity(30)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return cast(Work, SimpleNamespace(directory=tmp_path / "record", earlier=None))


@pytest.mark.fault(
    "Record",
    "a record was brought back from a backup, and the times of its files were not",
    comes="nothing: which certificate came last stands in the files themselves",
    then="nothing",
)
def test_which_came_last_is_known_after_a_backup_was_brought_back(
    work: Work, tmp_path: Path
) -> None:
    for number in (7, 9, 8):
        keep_issued(work, made(number))
    shutil.copytree(work.directory, tmp_path / "backup")
    for at, file in enumerate(sorted((tmp_path / "backup" / "issued").iterdir(), reverse=True)):
        os.utime(file, (at, at))
    again = cast(Work, SimpleNamespace(directory=tmp_path / "backup", earlier=None))

    assert [leaf.serial_number for leaf in last_issued(again)] == [8]
    assert numbers_issued(again) == ["7", "8", "9"]


def test_one_that_came_again_is_the_last_and_kept_once(work: Work) -> None:
    first, second = made(7), made(8)
    for one in (first, second, first):
        keep_issued(work, one)

    assert [leaf.serial_number for leaf in last_issued(work)] == [7]
    assert {file.name for file in (work.directory / "issued").iterdir()} == {"7.pem", "8.pem"}


def test_two_cas_that_gave_one_number_do_not_overwrite_each_other(work: Work) -> None:
    first, second = made(7, "one"), made(7, "other")
    keep_issued(work, first)
    keep_issued(work, second, (first,))

    kept = [file.read_bytes() for file in (work.directory / "issued").iterdir()]
    assert any(text.endswith(pem(first)) and text.startswith(b"received 1\n") for text in kept)
    assert last_issued(work) == (second, first)


@pytest.mark.fault(
    "Record",
    "a file in issued/ is no certificate",
    comes="nothing: it is passed over, and not listed as a certificate that was superseded",
    then="look who put it there",
)
def test_noise_beside_them_is_no_certificate(work: Work) -> None:
    keep_issued(work, made(7))
    place = work.directory / "issued"
    (place / "ffff.pem").write_bytes(os.urandom(512))
    (place / "aaaa.pem").write_bytes(pem(made(8))[:200])
    (place / "bbbb.pem").write_bytes(b"x" * (2 << 20))
    (place / "cccc.pem").mkdir()

    assert numbers_issued(work) == ["7"]
    assert [leaf.serial_number for leaf in last_issued(work)] == [7]


def test_those_that_the_version_before_kept_are_there_and_older(work: Work) -> None:
    (work.directory / "issued").mkdir(parents=True)
    (work.directory / "issued" / "ff.pem").write_bytes(pem(made(255)))
    alone = last_issued(work)
    keep_issued(work, made(7))

    assert [leaf.serial_number for leaf in alone] == [255]
    assert [leaf.serial_number for leaf in last_issued(work)] == [7]
    assert numbers_issued(work) == ["7", "ff"]


def test_one_that_an_earlier_record_put_aside_is_not_taken_up(work: Work) -> None:
    keep_issued(work, made(7))
    work.earlier = {"certificate": {"superseded": {"how": "observed", "value": ["7"]}}}

    assert last_issued(work) == ()
