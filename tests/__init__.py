"""The project's own suite: unit, links, device, emulator, selftest."""
