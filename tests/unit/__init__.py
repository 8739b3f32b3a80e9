"""Pure logic: no target, no network."""
