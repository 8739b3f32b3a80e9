"""What every target must do: the same text for the emulator and for a bench."""
