"""The pytest plugin, tested by running pytest."""
