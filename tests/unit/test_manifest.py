"""The manifest names each package with version, hash and licence."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from emulator.manifest import cyclonedx, licences_of
from emulator.packages import Binary, Source

DEP5 = """Format: https://example.org/copyright-format/1.0/

Files: *
License: BSD-2-Clause

Files: lib/*
License: GPL-2+ or MIT
 and more text

License: BSD-2-Clause
 Redistribution and use ...
"""


def test_licences_come_from_the_machine_readable_form(tmp_path: Path) -> None:
    (tmp_path / "copyright").write_text(DEP5)

    assert licences_of(tmp_path / "copyright") == ["BSD-2-Clause", "GPL-2+ or MIT"]


def test_licences_of_a_free_text_are_those_it_points_to(tmp_path: Path) -> None:
    text = "On Debian systems see `/usr/share/common-licenses/LGPL-2.1'.\n"
    (tmp_path / "copyright.gz").write_bytes(gzip.compress(text.encode()))

    assert licences_of(tmp_path / "copyright.gz") == ["LGPL-2.1"]


def test_no_copyright_file_is_no_licence_rather_than_a_guess(tmp_path: Path) -> None:
    assert licences_of(tmp_path / "copyright") == []


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, object]:
    binary = Binary("openssl", "3.5.9-1", "aa" * 32, "openssl", tmp_path / "openssl.deb")
    parts = (("optee-os_4.10.0-2.dsc", "bb" * 32), ("optee-os_4.10.0.orig.tar.gz", "cc" * 32))
    source = Source("optee-os", "4.10.0-2", "sid", parts, tmp_path)
    return cyclonedx(
        image={"version": "1"},
        binaries=[binary],
        sources=[source],
        licences={"openssl": ["Apache-2.0"]},
        flags={"optee-os": {"CFG_PKCS11_TA": "y"}},
        tools={"make": "GNU Make 4.3"},
    )


def test_each_package_and_source_is_a_component(manifest: dict[str, object]) -> None:
    components = manifest["components"]
    assert isinstance(components, list)

    package, source = components

    assert package["purl"] == "pkg:deb/debian/openssl@3.5.9-1?arch=arm64"
    assert package["hashes"] == [{"alg": "SHA-256", "content": "aa" * 32}]
    assert package["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    assert [part["name"] for part in source["components"]] == [
        "optee-os_4.10.0-2.dsc",
        "optee-os_4.10.0.orig.tar.gz",
    ]


def test_flags_and_tools_are_told(manifest: dict[str, object]) -> None:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)

    assert {"name": "trustbox:flag:optee-os:CFG_PKCS11_TA", "value": "y"} in metadata["properties"]
    assert metadata["tools"]["components"][0]["version"] == "GNU Make 4.3"
