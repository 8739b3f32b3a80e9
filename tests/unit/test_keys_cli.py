"""The key commands: each tells what it did as JSON as well; the factory's secret is made once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from provisioning.cli.keys import app


def commands(of: Any, name: str = "keys") -> Iterator[tuple[str, Any]]:
    """Every command below a group, by its words."""
    inner = getattr(of, "commands", None)
    if inner is None:
        yield name, of
    for word, command in (inner or {}).items():
        yield from commands(command, f"{name} {word}")


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", ALL)
def test_command_says_what_it_did_as_json_too_and_what_it_is_for(name: str) -> None:
    options = {option for p in ALL[name].params for option in p.opts}

    assert "--json" in options
    assert ALL[name].help
    assert not {"--pin", "--so-pin", "--secret"} & options  # no secret stands on a command line


def trustbox(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from provisioning.cli import main; main()", *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_file_without_a_certificate_is_refused_before_a_box_is_switched_on(tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    done = trustbox("keys", "install", "device-id", str(chain), "--root", str(chain))

    assert (done.returncode, done.stdout) == (2, "")
    assert f"{chain}: the file is" in done.stderr
    assert "switching" not in done.stderr


@pytest.mark.parametrize("verb", ["import", "rotate"])
def test_purpose_that_no_key_has_is_refused_before_a_box_is_switched_on(verb: str) -> None:
    """``device-id.2`` is a label: as a purpose it would be another key."""
    done = trustbox("keys", verb, "device-id.2", *(["/nowhere"] if verb == "import" else []))

    assert (done.returncode, done.stdout) == (2, "")
    assert "PURPOSE is 'device-id.2', expected a purpose" in done.stderr
    assert "switching" not in done.stderr


def test_factorys_secret_is_made_once_and_told_as_json(tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        done = trustbox("keys", "factory-secret", "--json", "--state", str(tmp_path / "station"))
        told.append(json.loads(done.stdout))

    assert [one["made"] for one in told] == [True, False]
    assert told[0]["cka_id"] == told[1]["cka_id"]
