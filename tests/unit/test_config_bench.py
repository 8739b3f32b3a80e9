"""A bench's entry: eight lines are enough, every key is strict, no secret stands in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.capability import Capability
from harness.config import choose_bench, parse
from harness.config_bench import SERIAL_PATHS, BenchConfig
from harness.config_power import CommandPower, HttpPower, PduDaemonPower
from harness.config_presets import load_presets
from harness.errors import BadInput, Misuse
from harness.target import EvidenceLevel, World

HOST_KEY = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="
EIGHT = f"""\
[bench-07]
kind = "bench"
preset = "trustbox-edge"
address = "192.0.2.7"
host_key = "{HOST_KEY}"
client_key = "keys/lab"
serial_url = "/dev/ttyUSB0"
power = {{ command = ["relay", "{{action}}", "7"] }}
"""
LEAST = EIGHT.replace('preset = "trustbox-edge"\n', "").rpartition("power")[0]


def bench(text: str) -> BenchConfig:
    (found,) = parse(text, "/lab/targets.toml").values()
    assert isinstance(found, BenchConfig)
    return found


def test_eight_lines_make_a_bench() -> None:
    found = bench(EIGHT)

    assert len(EIGHT.splitlines()) == 8
    assert (found.endpoint.host, found.endpoint.port, found.endpoint.user) == (
        *("192.0.2.7", 22),
        "root",
    )
    assert found.endpoint.client_key == Path("/lab/keys/lab")
    assert found.uarts == {World.NORMAL: "/dev/ttyUSB0"}
    assert found.power is not None
    assert found.power.backend == CommandPower(
        {"on": ("relay", "on", "7"), "off": ("relay", "off", "7")}
    )
    assert found.layout.storage_root == "/data/tee"
    assert found.evidence is EvidenceLevel.HARDWARE


def test_what_an_entry_says_stands_above_its_preset() -> None:
    found = bench(EIGHT + '[bench-07.layout]\nstorage_root = "/var/lib/tee"\n')

    assert found.layout.storage_root == "/var/lib/tee"
    assert found.layout.ta_directory == "/lib/optee_armtz"


def test_an_entry_without_preset_and_power_has_the_defaults() -> None:
    found = bench(LEAST)

    assert (found.power, found.preset, found.serial) == (None, "", None)
    assert found.serial_paths == SERIAL_PATHS
    assert found.speed == 115200


@pytest.mark.parametrize("preset", sorted(load_presets()))
def test_each_preset_that_ships_makes_a_bench(preset: str) -> None:
    found = bench(EIGHT.replace("trustbox-edge", preset))

    assert found.preset == preset
    assert load_presets()[preset].about


def test_the_maker_s_public_login_needs_no_password_file() -> None:
    account = bench(EIGHT + '[bench-07.console]\nuser = "admin"\n').console

    assert account is not None
    assert account.password is not None
    assert account.password().reveal() == b"trust"


def test_an_emulator_can_not_pass_for_hardware() -> None:
    emulator = EIGHT.replace("trustbox-edge", "emulator")

    assert bench(emulator).evidence is EvidenceLevel.FUNCTIONAL
    with pytest.raises(BadInput, match="is no hardware"):
        bench(emulator + 'evidence = "hardware"\n')


def test_fused_hardware_is_looked_at_and_never_believed() -> None:
    with pytest.raises(BadInput, match=r"bench-07\.evidence"):
        bench(EIGHT + 'evidence = "hardware+fused"\n')


def test_promises_are_capabilities() -> None:
    assert bench(EIGHT + 'promises = ["tee", "pkcs11"]\n').promises == {
        Capability.TEE,
        Capability.PKCS11,
    }


def test_firmware_files_of_another_station_are_as_good_as_absent(tmp_path: Path) -> None:
    (tmp_path / "devkit").mkdir()
    firmware = bench(
        EIGHT
        + f'[bench-07.firmware]\ndevkit = "{tmp_path}/devkit"\n'
        + f'ta_signing_key = "{tmp_path}/not-here.pem"\ngolden_tee = "{"ab" * 32}"\n'
    ).firmware

    assert firmware.devkit == tmp_path / "devkit"
    assert firmware.ta_signing_key is None
    assert firmware.golden_tee == bytes([0xAB]) * 32


@pytest.mark.parametrize(
    ("power", "backend"),
    [
        (
            '{ on = ["a", "1"], off = ["a", "0"], cycle = ["b"] }',
            CommandPower({"on": ("a", "1"), "off": ("a", "0"), "cycle": ("b",)}),
        ),
        ('{ cycle = ["push"] }', CommandPower({"cycle": ("push",)})),
        (
            '{ http = "http://pdu.lab/7/{action}" }',
            HttpPower({"on": "http://pdu.lab/7/on", "off": "http://pdu.lab/7/off"}),
        ),
        (
            '{ http = "http://pdu.lab/7", method = "POST", body = "do={action}" }',
            HttpPower({"on": "http://pdu.lab/7", "off": "http://pdu.lab/7"}, "POST", "do={action}"),
        ),
        (
            '{ http = { on = "http://p/m?c=On", off = "http://p/m?c=Off" } }',
            HttpPower({"on": "http://p/m?c=On", "off": "http://p/m?c=Off"}),
        ),
        (
            '{ pdudaemon = { url = "http://lab:16421/", hostname = "pdu", port = 4 } }',
            PduDaemonPower("http://lab:16421", hostname="pdu", port="4"),
        ),
        (
            '{ pdudaemon = { url = "http://lab:16421", alias = "bench-07" } }',
            PduDaemonPower("http://lab:16421", alias="bench-07"),
        ),
    ],
    ids=["three commands", "reset only", "http", "post", "two addresses", "pdudaemon", "alias"],
)
def test_power_is_switched_by(power: str, backend: Any) -> None:
    found = bench(f"{LEAST}power = {power}\n").power

    assert found is not None
    assert found.backend == backend


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("adress = 1", "bench-07.adress"),
        ("port = 70000", "bench-07.port"),
        ("port = true", "bench-07.port"),
        ('serial_speed = "fast"', "bench-07.serial_speed"),
        ('preset = "trustbox"', "bench-07.preset"),
        ('password_file = "x"', "bench-07.client_key"),
        ('promises = ["pkcs12"]', "bench-07.promises"),
        ('promises = "tee"', "bench-07.promises"),
        ("serial_paths = []", "bench-07.serial_paths"),
        ('console = "root"', "bench-07.console"),
        ('restore = "reflash"', "bench-07.restore"),
        ('restore = { command = "reflash" }', "bench-07.restore.command"),
        ('console = { name = "x" }', "bench-07.console.name"),
        ('layout = { tee_device = "dev/tee0" }', "bench-07.layout.tee_device"),
        ('firmware = { golden_tee = "abc" }', "bench-07.firmware.golden_tee"),
        ("power = {}", "bench-07.power.command"),
        ('power = { command = ["relay"] }', "bench-07.power.command"),
        ('power = { on = ["a"] }', "bench-07.power.on"),
        ('power = { cycle = ["a"], up = ["a"] }', "bench-07.power.up"),
        ('power = { on = "relay on", off = "relay off" }', "bench-07.power.on"),
        ('power = { http = { up = "http://a" } }', "bench-07.power.http.up"),
        ('power = { http = "http://pdu/7" }', "bench-07.power.http"),
        ('power = { http = "pdu/{action}" }', "bench-07.power.http"),
        (
            'power = { command = ["{action}"], settle_seconds = -1 }',
            "bench-07.power.settle_seconds",
        ),
        ('power = { command = ["{action}"], http = "http://x/{action}" }', "bench-07.power.http"),
        ('power = { http = "http://x/{action}", user = "u" }', "bench-07.power.user"),
        (
            'power = { http = "http://x/{action}", password_file = "pw" }',
            "bench-07.power.user",
        ),
        ('power = { http = "http://[::1/{action}" }', "bench-07.power.http"),
        ('power = { http = "http://pdu:abc/{action}" }', "bench-07.power.http"),
        ('power = { http = "http:///{action}" }', "bench-07.power.http"),
        ('lab_directory = "~no-such-user/lab"', "bench-07.lab_directory"),
        ('secure_serial_url = "/dev/../dev/ttyUSB0"', "bench-07.secure_serial_url"),
        ('serial_paths = ["/etc/serial", "serial"]', "bench-07.serial_paths"),
        ('console_tty = "ttyS0"', "bench-07.console_tty"),
        ('console_tty = "/dev/tty\\u001b"', "bench-07.console_tty"),
        ('console = { user = "root\\u0003" }', "bench-07.console.user"),
        ("boot_markers = []", "bench-07.boot_markers"),
        ('power = { pdudaemon = { url = "http://x" } }', "bench-07.power.pdudaemon.alias"),
    ],
)
def test_a_wrong_line_is_named(line: str, key: str) -> None:
    with pytest.raises(BadInput) as caught:
        # Top-level keys only, so the line can stand anywhere.
        bench(f"{LEAST}{line}\n")

    assert (caught.value.where, caught.value.key) == ("/lab/targets.toml", key)
    assert caught.value.expected


@pytest.mark.parametrize("key", ["address", "host_key", "client_key", "serial_url"])
def test_a_missing_line_is_named(key: str) -> None:
    left = "".join(x for x in LEAST.splitlines(keepends=True) if not x.startswith(f"{key} "))
    with pytest.raises(BadInput) as caught:
        bench(left)

    assert caught.value.key == f"bench-07.{key}"


@pytest.mark.parametrize("host_key", ["", "AAAA", "ecdsa-sha2-nistp256 ####", "host ssh-rsa AAAA"])
def test_a_host_key_of_another_form_is_refused(host_key: str) -> None:
    with pytest.raises(BadInput, match=r"bench-07\.host_key"):
        bench(LEAST.replace(HOST_KEY, host_key))


@pytest.mark.parametrize(
    "line",
    [
        'password = "hunter2"',
        'console = { password = "hunter2" }',
        'console = { new_password = "hunter2" }',
        'power = { http = "http://admin:hunter2@pdu/{action}" }',
        'power = { command = ["curl", "http://admin:hunter2@pdu/{action}"] }',
        'power = { on = ["relay", "--login=admin:hunter2@pdu"], off = ["relay"] }',
        'restore = { command = ["reflash", "admin:hunter2@station"] }',
        'serial_url = "rfc2217://admin:hunter2@lab:4007"',
        'passwort = "hunter2"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(line: str) -> None:
    text = LEAST
    if line.startswith("serial_url"):
        text = "".join(x for x in LEAST.splitlines(True) if not x.startswith("serial_url"))
    with pytest.raises(BadInput) as caught:
        bench(f"{text}{line}\n")

    assert "hunter2" not in caught.value.message
    assert "hidden" in caught.value.message


def test_a_plain_password_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(BadInput, match="password_file or a password_command"):
        bench(LEAST + 'password = "hunter2"\n')


def test_a_name_that_could_be_a_path_is_refused() -> None:
    with pytest.raises(BadInput, match="letters, digits"):
        bench(LEAST.replace("[bench-07]", '["../bench"]'))


def test_the_emulator_is_no_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    with pytest.raises(Misuse, match="emulator is no bench"):
        choose_bench("emulator")
