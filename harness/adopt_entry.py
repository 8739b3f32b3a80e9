"""Writing a targets file that a person keeps: one entry changes, everything else stays as it was.

The new text is parsed, and must mean the same for all other entries, before it takes the old file's
place in one step.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import filelock
import tomlkit
from tomlkit.exceptions import TOMLKitError

from harness.config import TargetConfig, parse
from harness.errors import Misuse

_TURN_SECONDS = 30.0

Values = Mapping[str, object]


def entries(file: Path) -> dict[str, TargetConfig]:
    """The targets in the file; none when there is no file. Raises BadInput, Misuse."""
    text = _read(file)
    return parse(text, str(file)) if text else {}


def check(name: str, values: Values, *, where: str) -> None:
    """Raises BadInput when this could be no entry."""
    document = tomlkit.document()
    document.add(name, _table(values))
    parse(document.as_string(), where)


def put(file: Path, name: str, values: Values, *, replace: bool) -> None:
    """Add the entry ``name``, or with ``replace`` have it take the place of the one there is.

    Raises Misuse when it is there and ``replace`` is not given, or the file cannot be written;
    BadInput when the entry or the file is wrong. Then the file is as before.
    """
    file = file.resolve()  # a link to somebody's own place for settings stays a link
    with _turn(file):
        document = _document(file)
        if name in document:
            if not replace:
                raise Misuse(
                    f"{file} has a target called {name} already",
                    hint="Choose another name, or replace it with --replace.",
                )
            document[name] = _table(values)
        else:
            if document.as_string().strip():
                document.add(tomlkit.nl())
            document.add(name, _table(values))
        _save(file, document, name)


def set_host_key(file: Path, name: str, host_key: str) -> None:
    """Pin another host key for the entry ``name``. Raises Misuse when it is not in the file."""
    file = file.resolve()  # a link to somebody's own place for settings stays a link
    with _turn(file):
        document = _document(file)
        if name not in document:
            raise Misuse(f"{name} is not in {file}, so its host key is not pinned there")
        document[name]["host_key"] = host_key
        _save(file, document, name)


def _table(values: Values) -> tomlkit.items.Table:
    table = tomlkit.table()
    for key, value in values.items():
        table.add(key, _table(value) if isinstance(value, Mapping) else value)
    return table


def _document(file: Path) -> tomlkit.TOMLDocument:
    text = _read(file)
    parse(text, str(file))  # says what is wrong in our own words
    try:
        return tomlkit.parse(text)
    except TOMLKitError as problem:  # pragma: no cover - parse() was stricter
        raise Misuse(f"{file} cannot be edited: {problem}") from problem


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as problem:
        raise Misuse(f"the targets file {file} cannot be read: {problem}") from problem


def _save(file: Path, document: tomlkit.TOMLDocument, name: str) -> None:
    text = document.as_string()
    before, after = _others(_read(file), file, name), _others(text, file, name)
    if before != after:
        raise Misuse(f"{file} was not changed: the edit would have changed other entries, too")
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        descriptor, new = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as written:
                os.fchmod(descriptor, mode)
                written.write(text)
                written.flush()
                os.fsync(descriptor)
            Path(new).replace(file)
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise Misuse(f"the targets file {file} cannot be written: {problem}") from problem


def _others(text: str, file: Path, name: str) -> dict[str, TargetConfig]:
    return {other: entry for other, entry in parse(text, str(file)).items() if other != name}


@contextmanager
def _turn(file: Path) -> Iterator[None]:
    """One writer at a time, so that two that adopt at once both get their entry."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(
            file.with_name(f".{file.name}.lock"), timeout=_TURN_SECONDS, mode=0o600
        ):
            yield
    except filelock.Timeout as problem:
        raise Misuse(f"{file} is being changed by somebody else for 30 s now") from problem
    except OSError as problem:
        raise Misuse(f"the targets file {file} cannot be changed: {problem}") from problem
