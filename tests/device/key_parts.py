"""A token's label and PINs, and templates that a careful factory would not use."""

from __future__ import annotations

from harness.secret import Secret
from provisioning.token_template import KeyTemplate

LABEL, SO, USER = "under-test", Secret(b"so-pin-6120"), Secret(b"user-pin-9344")
WRONG, OTHER = Secret(b"not-the-pin"), Secret(b"other-pin-2071")

READABLE = KeyTemplate("readable", {"PRIVATE": True, "SENSITIVE": False, "EXTRACTABLE": True})
WRAPPABLE = KeyTemplate("wrappable", {"PRIVATE": True, "SENSITIVE": True, "EXTRACTABLE": True})
