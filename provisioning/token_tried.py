"""What a token must refuse, tried. Nothing that it keeps is changed: see token_probes.

A part of ``Token``, in a file of its own for its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import BadFrame
from provisioning.token_secrets import Caller
from provisioning.token_template import TEMPLATES


@dataclass(frozen=True, slots=True)
class WrapAnswer:
    """What C_WrapKey said: ``mechanism`` "" where the module has nothing to wrap with, ``ckr`` ""
    where it gave ``octets`` of wrapped key (which are not kept).
    """

    mechanism: str
    ckr: str
    octets: int


@dataclass(frozen=True, slots=True)
class LoosenAnswer:
    """``made`` "" where there was a key to try it on, else why not (a CKR; "unlike": one with other
    attributes); ``ckr`` "" where that key became extractable.
    """

    made: str
    ckr: str


class Probes:
    """Needs a login for everything."""

    _caller: Caller

    def wrap_probe(self, kind: str, id: bytes, *, by: Deadline) -> WrapAnswer:
        """Try to take a key out with C_WrapKey. What it gave is thrown away where it came out."""
        match self._caller.call("wrap_probe", doing="trying C_WrapKey", by=by, kind=kind, id=id):
            case {"mechanism": str(mechanism), "ckr": str(ckr), "octets": int(octets)}:
                return WrapAnswer(mechanism, ckr, octets)
        raise BadFrame("the answer to C_WrapKey cannot be read")

    def loosen_probe(
        self, kind: str, id: bytes, profile: Mapping[str, object], *, by: Deadline
    ) -> LoosenAnswer:
        """Try to make a key extractable that is like the one of ``id``, made by ``profile`` for
        this session only and thrown away then. The one that is kept is only read.
        """
        names = [list(template.attributes) for template in TEMPLATES]
        of = {"key" if name == "kind" else name: value for name, value in profile.items()}
        match self._caller.call(
            "loosen_probe", doing="loosening a key like it", by=by,
            kind=kind, id=id, names=names, **of,
        ):  # fmt: skip
            case {"made": str(made), "set": str(answer)}:
                return LoosenAnswer(made, answer)
        raise BadFrame("the answer to setting CKA_EXTRACTABLE cannot be read")

    def forge_local(self, *, by: Deadline) -> str:
        """Try to import a key that claims LOCAL; the refusal's CKR, "" if the token believed it."""
        found = self._caller.call("forge_local", doing="importing a false key", by=by)
        return found if isinstance(found, str) else "CKR_GENERAL_ERROR"
