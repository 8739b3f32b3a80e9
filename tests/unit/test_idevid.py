"""The profile of a box's certificate, and that every departure from it is seen."""

from __future__ import annotations

import datetime
import subprocess

import pytest
from asn1crypto import parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import IntegrityFailure
from provisioning.certificates import check_issued, fits
from provisioning.idevid import (
    HARDWARE_TYPE,
    NO_END,
    device_builder,
    hardware_module_name,
    hardware_serial,
    new_serial_number,
    profile_faults,
    read_hardware_module_name,
    validity,
)
from tests.unit.authority_parts import SERIAL, a_key

ISSUER_KEY = a_key()


def issuer() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
    begin, end = validity(10)
    own_id = x509.SubjectKeyIdentifier.from_public_key(ISSUER_KEY.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ISSUER_KEY.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(own_id, critical=False)
        .sign(ISSUER_KEY, hashes.SHA256())
    )


def made(*, without: type[x509.ExtensionType] | None = None, **changes: object) -> x509.Certificate:
    """A box's certificate; ``without`` one extension, or with ``add``ed ones."""
    arguments = {"number": new_serial_number(), "days": 30, **changes}
    added = arguments.pop("add", [])
    builder = device_builder(a_key().public_key(), SERIAL, issuer(), **arguments)  # type: ignore[arg-type]
    if without is not None:
        kept = [e for e in builder._extensions if not isinstance(e.value, without)]
        builder._extensions = kept
    for extension, critical in added:  # type: ignore[attr-defined]
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(ISSUER_KEY, hashes.SHA256())


def test_certificate_of_the_profile_has_no_fault() -> None:
    assert profile_faults(made(), SERIAL) == ()


def test_distribution_point_is_part_of_the_profile() -> None:
    assert profile_faults(made(crl_url="http://crl.example/issuing.crl"), SERIAL) == ()


def test_certificate_of_another_box_has_another_subject_and_another_module_name() -> None:
    faults = profile_faults(made(), "TB-TEST-0002")

    assert [f.split(" is ")[0] for f in faults[:1]] == ["its subject"]
    assert "its hardwareModuleName has another serial" in faults


def test_serial_in_the_module_name_counts_as_well() -> None:
    wrong = x509.SubjectAlternativeName([hardware_module_name("TB-OTHER", HARDWARE_TYPE)])
    found = made(without=x509.SubjectAlternativeName, add=[(wrong, False)])

    assert profile_faults(found, SERIAL) == ("its hardwareModuleName has another serial",)


@pytest.mark.parametrize(
    ("kind", "replacement", "critical", "fault"),
    [
        pytest.param(
            x509.BasicConstraints,
            x509.BasicConstraints(ca=True, path_length=None),
            True,
            "not marked as an end entity's",
            id="a CA",
        ),
        pytest.param(
            x509.BasicConstraints,
            x509.BasicConstraints(ca=False, path_length=None),
            False,
            "not marked as an end entity's",
            id="basic constraints not critical",
        ),
        pytest.param(
            x509.ExtendedKeyUsage,
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            False,
            "client authentication alone",
            id="a server, too",
        ),
        pytest.param(
            x509.SubjectAlternativeName,
            x509.SubjectAlternativeName([x509.DNSName("box.example")]),
            False,
            "not one hardwareModuleName",
            id="a DNS name",
        ),
        pytest.param(x509.SubjectAlternativeName, None, False, "2.5.29.17", id="no name"),
        pytest.param(x509.AuthorityKeyIdentifier, None, False, "2.5.29.35", id="no AKI"),
        pytest.param(x509.KeyUsage, None, False, "2.5.29.15", id="no key usage"),
    ],
)
def test_departure_from_the_profile_is_named(
    kind: type[x509.ExtensionType],
    replacement: x509.ExtensionType | None,
    critical: bool,
    fault: str,
) -> None:
    found = made(without=kind, add=[(replacement, critical)] if replacement else [])

    assert fault in "".join(profile_faults(found, SERIAL))


def test_extension_that_the_profile_does_not_know_is_named() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")

    assert "1.2.3.4" in profile_faults(made(add=[(strange, False)]), SERIAL)[0]


def test_short_serial_number_is_named() -> None:
    assert profile_faults(made(number=4711), SERIAL) == ("its serial number is not 20 octets",)


def test_serial_numbers_are_20_octets_and_never_the_same() -> None:
    found = {new_serial_number() for _ in range(1000)}

    assert {(number.bit_length() + 8) // 8 for number in found} == {20}
    assert len(found) == 1000


def test_certificate_without_end_ends_as_rfc_5280_says() -> None:
    encoded = made(days=None).public_bytes(serialization.Encoding.DER)

    assert b"\x18\x0f99991231235959Z" in encoded


def test_period_is_counted_from_now() -> None:
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)

    assert validity(2, now=now)[1] == now + datetime.timedelta(days=2)
    assert validity(None, now=now)[1] == NO_END


def test_module_name_reads_back() -> None:
    name = hardware_module_name(SERIAL, "1.3.6.1.4.1.32473.1")

    assert read_hardware_module_name(name.value) == ("1.3.6.1.4.1.32473.1", SERIAL.encode())


def test_module_name_is_what_rfc_4108_says_by_openssl_too() -> None:
    """SEQUENCE { OBJECT IDENTIFIER, OCTET STRING }, read by somebody else's parser."""
    encoded = hardware_module_name(SERIAL, HARDWARE_TYPE).value

    shown = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=encoded, capture_output=True, check=True
    ).stdout.decode()

    lines = [line.partition("prim: ")[2] or "SEQUENCE" for line in shown.splitlines()]
    assert lines[0] == "SEQUENCE"
    assert lines[1].split(":")[1] == HARDWARE_TYPE
    assert lines[2].split(":")[-1] == SERIAL
    assert len(lines) == 3


def test_serial_is_read_from_the_module_name() -> None:
    assert hardware_serial(made()) == SERIAL


def test_certificate_without_module_name_has_no_such_serial() -> None:
    with pytest.raises(ValueError, match="no hardwareModuleName"):
        hardware_serial(made(without=x509.SubjectAlternativeName))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x05\x00",
        hardware_module_name(SERIAL, HARDWARE_TYPE).value[:-1],
        hardware_module_name(SERIAL, HARDWARE_TYPE).value + b"\x00",
        parser.emit(0, 1, 16, b""),
    ],
    ids=["empty", "null", "cut short", "with something behind it", "empty sequence"],
)
def test_what_is_no_module_name_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a HardwareModuleName"):
        read_hardware_module_name(value)


@given(st.binary(max_size=40) | st.tuples(st.integers(0, 29), st.integers(0, 255)))
def test_whatever_stands_there_is_a_module_name_or_refused(noise: bytes | tuple[int, int]) -> None:
    if isinstance(noise, tuple):
        changed = bytearray(hardware_module_name(SERIAL, "1.3.6.1.4.1.32473.1").value)
        changed[noise[0] % len(changed)] = noise[1]
        noise = bytes(changed)
    try:
        hardware_type, serial = read_hardware_module_name(noise)
    except ValueError:
        return

    assert noise.endswith(serial)
    assert hardware_type.replace(".", "").isdecimal()


UNREADABLE = {
    "key of no known kind": (b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x7f"),
    "name of bits": (b"\x0c\x0ctb-test-0001", b"\x03\x0ctb-test-0001"),
}


@pytest.mark.parametrize("damage", UNREADABLE)
def test_certificate_that_cannot_be_read_is_refused_and_nothing_else(damage: str) -> None:
    """As it may stand in a box's file: it is not believed, and it stops nobody."""
    key, good = a_key().public_key(), made()
    encoded = good.public_bytes(serialization.Encoding.DER)
    assert UNREADABLE[damage][0] in encoded
    changed = encoded.replace(*UNREADABLE[damage])
    found = x509.load_der_x509_certificate(changed)

    assert not fits(found, key=key, serial=SERIAL, issuing=issuer())
    with pytest.raises(IntegrityFailure):
        check_issued(found, key=key, serial=SERIAL, issuing=issuer(), root=issuer())
