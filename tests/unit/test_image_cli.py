"""``trustbox emulator build | export | import`` in the words that a user sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from emulator import cli_image
from emulator.bundle import export_image
from emulator.image import Image
from emulator.image_store import write_index
from harness.errors import BadInput, Misuse, TrustBoxError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUSTBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    cli_image.register(app)
    return app


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "golden.json").write_text(json.dumps({"tee_memory_sha256": "ab" * 32}))
    (made / "cmdline").write_text("quiet\n")
    facts = {"profile": "current", "recipe": "00" * 32, "optee_version": "4.10.0-2"}
    write_index(made, {**facts, "bootcmd": "boot"})
    export_image(Image.load(made), tmp_path / "image.tar.gz")
    return tmp_path / "image.tar.gz"


def refusal(app: typer.Typer, *words: str) -> TrustBoxError:
    raised = CliRunner().invoke(app, list(words)).exception
    assert isinstance(raised, TrustBoxError)
    return raised


def test_import_tells_the_digest_and_that_another_version_made_the_image(
    app: typer.Typer, bundle: Path, cache: Path
) -> None:
    done = CliRunner().invoke(app, ["import", str(bundle), "--json"])

    facts = json.loads(done.stdout)
    assert done.exit_code == 0
    assert Path(facts["directory"]) == cache / "images" / facts["digest"]
    assert facts["used"] is False
    assert "made by another version" in done.stderr.replace("\n", " ")


def test_import_of_a_file_that_is_not_there_says_so(app: typer.Typer, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(refusal(app, "import", str(tmp_path / "none")))


def test_export_without_a_built_image_says_to_build_first(app: typer.Typer, tmp_path: Path) -> None:
    refused = refusal(app, "export", str(tmp_path / "image.tar.gz"))

    assert isinstance(refused, Misuse)
    assert "trustbox emulator build" in refused.diagnostics()


def test_build_of_an_unknown_profile_names_those_there_are(app: typer.Typer) -> None:
    assert isinstance(refusal(app, "build", "--profile", "tomorrow"), BadInput)
