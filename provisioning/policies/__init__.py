"""Policies that come with the package."""

from __future__ import annotations

from pathlib import Path

DEFAULT = Path(__file__).parent / "default.toml"
"""The commented example, in force where no other is named."""
