"""What only the emulator promises."""
