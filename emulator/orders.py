"""What a keeper is told when it is started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Orders:
    """Which box to keep, and how. ``seconds`` bounds its start."""

    serial: str
    seconds: float
    profile: str
    as_bench: bool = False
    autoboot_seconds: int | None = None
    """U-Boot's countdown, instead of the profile's."""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Orders:
        return cls(**json.loads(text))
