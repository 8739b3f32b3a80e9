"""Changing live secure memory, through QEMU's gdb stub (``harness.tamper`` says what for)."""
