"""The image's bill of materials, as CycloneDX 1.5 JSON (ECMA-424)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from emulator.packages import Binary, Source

_LICENCE = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]+)")


def cyclonedx(
    *,
    image: Mapping[str, str],
    binaries: Iterable[Binary],
    sources: Iterable[Source],
    licences: Mapping[str, list[str]],
    flags: Mapping[str, Mapping[str, str]],
    tools: Mapping[str, str],
) -> dict[str, object]:
    """The manifest as a JSON object. ``licences`` is by package name, best effort."""
    components: list[dict[str, object]] = []
    for binary in binaries:
        purl = f"pkg:deb/debian/{binary.name}@{binary.version}?arch=arm64"
        components.append(
            {
                **_component(binary.name, binary.version, purl, licences.get(binary.name, [])),
                "hashes": [{"alg": "SHA-256", "content": binary.sha256}],
            }
        )
    for source in sources:
        purl = f"pkg:deb/debian/{source.name}@{source.version}?arch=source"
        parts = [
            {
                "type": "file",
                "name": file,
                "version": source.version,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for file, digest in source.files
        ]
        components.append(
            {
                **_component(source.name, source.version, purl, licences.get(source.name, [])),
                # Of a source package the .dsc stands for the rest: it names their hashes.
                "hashes": [{"alg": "SHA-256", "content": source.files[0][1]}],
                "components": parts,
            }
        )
    options = [
        {"name": f"trustbox:flag:{part}:{name}", "value": value}
        for part, values in flags.items()
        for name, value in values.items()
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "firmware", "name": "trustbox-emulator-image", **image},
            "tools": {
                "components": [
                    {"type": "application", "name": name, "version": version}
                    for name, version in sorted(tools.items())
                ]
            },
            "properties": options,
        },
        "components": components,
    }


def licences_of(copyright_file: Path) -> list[str]:
    """The short names in a debian/copyright (DEP-5), or the common licences a free text names."""
    if not copyright_file.is_file():
        return []
    data = copyright_file.read_bytes()
    if copyright_file.suffix == ".gz":
        data = gzip.decompress(data)
    text = data.decode(errors="replace")
    named = _LICENCE.findall(text) if "copyright-format" in text[:2000] else _COMMON.findall(text)
    return sorted({name.strip().rstrip(",.") for name in named})


def _component(name: str, version: str, purl: str, licences: list[str]) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"license": {"name": licence}} for licence in licences],
    }
