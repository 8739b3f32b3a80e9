"""No value of a key that may be secret comes out of a reader of settings, whatever the slip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import config
from harness.config_secret import SecretFile
from harness.config_table import Table
from harness.errors import BadInput, Misuse, TrustBoxError
from harness.shown import HARMLESS
from provisioning import plan, plan_edge, plan_enrollment
from provisioning.authority_settings import CaSettings
from provisioning.cli import main
from provisioning.http_client import Http
from provisioning.http_tls import TlsConnector
from provisioning.plan import example_plan, parse_plan
from provisioning.policy_file import read_policy
from provisioning.token_uri import TokenUri

SECRET = "Sesame-27182818"
NUMBER = 27182818
SLIPS = ("user_pin", "so_pin", "pin", "password", "passwort", "secret", "pass_word", "x")
FORMS: tuple[object, ...] = (
    SECRET,
    NUMBER,
    [SECRET],
    {"user_pin": SECRET},
    f"https://admin:{SECRET}@server",
    f"pkcs11:token=a?pin-value={SECRET}",
)
BENCH = """\
[bench]
kind = "bench"
preset = "emulator"
address = "192.0.2.7"
host_key = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="
password_command = ["pass", "lab"]
serial_url = "/dev/ttyUSB0"
[bench.console]
[bench.restore]
command = ["reflash"]
[bench.layout]
[bench.firmware]
[bench.boot_stages]
"""
POWERS = (
    'power = { command = ["relay", "{action}"] }',
    'power = { http = "http://pdu/{action}" }',
    'power = { pdudaemon = { url = "http://lab", alias = "one" } }',
)


def chained(problem: BaseException) -> str:
    """All that a log could have of an exception: its text, hint and what it was raised from."""
    said = [str(problem), repr(getattr(problem, "value", ""))]
    said += [problem.diagnostics()] if isinstance(problem, TrustBoxError) else []
    below = [chained(one) for one in (problem.__cause__,) if one is not None]
    return "\n".join(said + below)


def with_value(text: str, path: tuple[str, ...], value: object) -> str:
    """The document with ``value`` at a dotted place."""
    found: Any = tomllib.loads(text)
    at = found
    for name in path[:-1]:
        if not isinstance(at.get(name), dict):
            at[name] = {}
        at = at[name]
    at[path[-1]] = value
    return "\n".join(f"{key} = {toml(one)}" for key, one in found.items())


def toml(value: object) -> str:
    """On one line; tomlkit would take a second for a hundred of these."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def plan_places() -> Iterator[tuple[str, ...]]:
    tables: dict[tuple[str, ...], tuple[str, ...]] = {
        (): ("secrets", "key", "keys", "enrollment", "iotedge", "pins"),
        ("secrets",): ("source", "command", "hsm"),
        ("keys",): ("storage",),
        ("iotedge",): plan_edge.KEYS,
        ("pins",): (),
        ("enrollment",): ("est", "dps", "login"),
        **{("enrollment", n): keys for n, keys in plan_enrollment._KEYS.items()},
        **{(name,): keys for name, keys in plan._TABLES.items()},
    }
    for table, keys in tables.items():
        yield from ((*table, key) for key in (*keys, *SLIPS))


def bench_places(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, ...]]:
    """Every key that the reader of a bench's entry asks for, and slips in each of its tables."""
    asked: set[tuple[str, ...]] = set()

    def ask(self: Table, key: str) -> None:
        asked.add((*self.name.split("."), key))
        if key not in self._asked:
            self._asked.append(key)

    with monkeypatch.context() as watching:
        watching.setattr(Table, "_ask", ask)
        for power in POWERS:
            config.parse(BENCH.replace("kind", f"{power}\nkind", 1), "lab.toml")
    return asked | {(*place[:-1], slip) for place in asked for slip in SLIPS}


def may_show(place: tuple[str, ...], value: object) -> bool:
    """A name, an address, a kind; or a number where one belongs, which no PIN's place takes."""
    return (place[-1] in HARMLESS and value in (SECRET, [SECRET])) or (
        value == NUMBER and place[-1] not in SLIPS
    )


@pytest.mark.fault(
    "Secrets",
    "a PIN or password typed into a plan, a targets file, ca.json or a policy",
    comes="BadInput, status 2, naming file, table and key; the value is shown as (hidden)",
    then="move it into a file of mode 0600 that the plan names; change it if the file was shared",
)
def test_a_plan_s_reader_shows_no_secret_at_any_key_or_slip() -> None:
    refused = 0
    for place in plan_places():
        for value in FORMS:
            text = with_value(example_plan(), place, value)
            try:
                parse_plan(text.encode(), where="my.toml", beside=Path("/plans"))
            except BadInput as problem:
                refused += 1
                if not may_show(place, value):
                    assert SECRET not in chained(problem), (place, value)
                    assert str(NUMBER) not in chained(problem), (place, value)
    assert refused > 300


def test_a_targets_file_s_reader_shows_no_secret_at_any_key_or_slip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = bench_places(monkeypatch)
    assert {("bench", "power", "body"), ("bench", "console", "new_password_file")} <= places
    refused = 0
    for place in sorted(places):
        for value in FORMS:
            try:
                config.parse(with_value(BENCH, place, value), "lab.toml")
            except BadInput as problem:
                refused += 1
                if not may_show(place, value):
                    assert SECRET not in chained(problem), (place, value)
                    assert str(NUMBER) not in chained(problem), (place, value)
    assert refused > 500


@pytest.mark.parametrize("value", FORMS[:4])
@pytest.mark.parametrize("key", [*CaSettings().to_dict(), *SLIPS])
def test_a_ca_s_settings_show_no_secret(key: str, value: object) -> None:
    text = json.dumps(CaSettings().to_dict() | {key: value})
    with pytest.raises(BadInput) as caught:
        CaSettings.parse(text.encode(), where="ca.json")

    assert may_show((key,), value) or SECRET not in chained(caught.value)


@pytest.mark.parametrize("key", ["pin", "password", "enclave", "hardware"])
@pytest.mark.parametrize("value", [SECRET, {"pin": SECRET}])
def test_a_policy_shows_no_secret(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "policy.toml").write_text(f"{key} = {toml(value)}")
    with pytest.raises(BadInput) as caught:
        read_policy(tmp_path / "policy.toml")

    assert SECRET not in chained(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        f"pkcs11:token=a?pin-value={SECRET}",
        f"pkcs11:token=a?pin-value:{SECRET}",
        f"pkcs11:token=a?module-path=/m.so&pin-source={SECRET}",
        f"pkcs11:token=a;{SECRET}",
        f"pkcs11:{SECRET}",
        f"pkcs12:token=a?pin-value={SECRET}",
    ],
)
def test_a_token_s_uri_shows_no_pin(uri: str) -> None:
    with pytest.raises(BadInput) as caught:
        TokenUri.parse(uri, where="--hsm")

    assert SECRET not in chained(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://admin:{SECRET}@est.example.com",
        f"https://{'admin' * 20}:{SECRET}@est.example.com",
        f"https://est.example.com:{'1' * 60}?password={SECRET}",
        f"ftp://admin:{SECRET}@est.example.com",
    ],
)
def test_a_server_s_address_shows_no_password(url: str) -> None:
    with pytest.raises(Misuse) as caught:
        Http(url, TlsConnector())

    assert SECRET not in chained(caught.value)


def test_a_pin_in_a_file_s_place_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="digits alone") as caught:
        SecretFile(tmp_path / str(NUMBER))()
    assert str(NUMBER) not in chained(caught.value)

    text = with_value(example_plan(), ("secrets", "source"), str(NUMBER))
    with pytest.raises(BadInput, match="or the path of a file with PINs") as refused:
        parse_plan(text.encode(), where="my.toml", beside=Path("/plans"))
    assert str(NUMBER) not in chained(refused.value)


def test_a_bare_word_as_source_is_a_file_that_is_there_and_else_not_shown(tmp_path: Path) -> None:
    text = with_value(example_plan(), ("secrets", "source"), SECRET).encode()
    with pytest.raises(BadInput, match="a file that is there") as refused:
        parse_plan(text, where="my.toml", beside=tmp_path)
    (tmp_path / SECRET).touch()

    assert SECRET not in chained(refused.value)
    assert parse_plan(text, where="my.toml", beside=tmp_path).pins == tmp_path / SECRET


def test_a_word_too_many_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trustbox", "plan", "example", SECRET])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "a word more than this command takes" in said.err
    assert SECRET not in said.out + said.err


def test_an_error_hides_an_address_s_password_whoever_quotes_it() -> None:
    problem = Misuse(
        f"no answer from http://admin:{SECRET}@pdu/on",
        hint=f"try pkcs11:token=a?pin-value={SECRET}&module-path=/m.so",
    )

    assert str(problem) == "no answer from http://(hidden)@pdu/on"
    assert problem.diagnostics() == "try pkcs11:token=a?pin-value=(hidden)&module-path=/m.so"


def test_what_is_harmless_is_still_shown() -> None:
    """A typing error in a kind, a number or a name is seen at once."""
    for place, value in (
        (("key", "profile"), "ec-p255"),
        (("certificate", "validity_days"), 0),
        (("integrity", "unfused"), "reject"),
        (("keys", "storage"), "aes-255"),
    ):
        text = with_value(example_plan(), place, value)
        with pytest.raises(BadInput, match=f"is {value!r}, expected"):
            parse_plan(text.encode(), where="my.toml", beside=Path("/plans"))


def test_a_command_prints_no_secret_of_its_plan(tmp_path: Path) -> None:
    text = with_value(example_plan(), ("secrets", "user_pin"), SECRET)
    (tmp_path / "my.toml").write_text(text)
    words = ("-v", "provision", "--json", str(tmp_path / "my.toml"))
    done = subprocess.run(
        [sys.executable, "-c", "from provisioning.cli import main; main()", *words],
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert json.loads(done.stderr.splitlines()[-1])["error"] == "BadInput"
    assert "secrets.user_pin" in done.stderr
    assert SECRET not in done.stdout + done.stderr
