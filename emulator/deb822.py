"""The paragraph format of Debian control files (deb822(5)), as far as apt's answers use it."""

from __future__ import annotations

from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Each paragraph as field → value. Folded lines keep their breaks; comments go."""
    found: dict[str, str] = {}
    field = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            if found:
                yield found
            found, field = {}, ""
        elif line[0] in " \t":
            if field:
                found[field] += "\n" + line.strip()
        else:
            field, _, value = line.partition(":")
            found[field] = value.strip()
    if found:
        yield found
