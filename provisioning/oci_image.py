"""Writes an OCI image layout: one image of one layer, the same bytes for the same input.

::

    DIR/oci-layout · index.json · blobs/sha256/<manifest> <config> <layer.tar.gz>

OCI image specification 1.1: image-layout.md, manifest.md, config.md, layer.md. Pushing it to a
registry is for tools that do that well (skopeo copy oci:DIR:TAG docker://...).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioning.private_files import write_durably

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the image; all belong to root."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class OciImage:
    """``files`` by path without a leading slash. ``labels`` and ``entrypoint`` as in config.md."""

    files: Mapping[str, Entry]
    entrypoint: tuple[str, ...]
    labels: Mapping[str, str]
    tag: str
    architecture: str = "arm64"


def write_image(image: OciImage, into: Path) -> str:
    """Fill the empty directory ``into``; the manifest's digest, ``sha256:...``.

    index.json comes last: a directory without it is no image, so half of one is never taken for
    one. Raises Misuse when it cannot be written.
    """
    layer = _layer(image.files)
    packed = gzip.compress(layer, mtime=0)
    config = {
        "architecture": image.architecture,
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "Labels": dict(image.labels)},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        "history": [{"created_by": "trustbox ta package"}],
    }
    if image.architecture == "arm64":
        config["variant"] = "v8"
    blobs = into / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _kept(blobs, CONFIG, _json(config)),
        "layers": [_kept(blobs, LAYER, packed)],
    }
    described = _kept(blobs, MANIFEST, _json(manifest))
    platform = {"architecture": image.architecture, "os": "linux"}
    annotations = {"org.opencontainers.image.ref.name": image.tag}
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**described, "platform": platform, "annotations": annotations}],
    }
    write_durably(into / "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), mode=0o644)
    write_durably(into / "index.json", _json(index), mode=0o644)
    return str(described["digest"])


def _layer(files: Mapping[str, Entry]) -> bytes:
    """A tar without times and owners, directories first."""
    made, known = io.BytesIO(), set[str]()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, entry in sorted(files.items()):
            parents = [str(parent) for parent in reversed(Path(name).parents) if str(parent) != "."]
            for parent in parents:
                if parent not in known:
                    known.add(parent)
                    folder = tarfile.TarInfo(parent)
                    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(folder)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(entry.data), entry.mode
            tar.addfile(info, io.BytesIO(entry.data))
    return made.getvalue()


def _kept(blobs: Path, kind: str, data: bytes) -> dict[str, object]:
    """The blob's descriptor, once it is on the disk."""
    digest = _digest(data)
    write_durably(blobs / digest.removeprefix("sha256:"), data, mode=0o644)
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
