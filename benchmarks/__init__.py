"""Repeatable measurements: run on the machine they speak of, results on stdout."""
