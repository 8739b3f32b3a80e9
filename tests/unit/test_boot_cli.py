"""trustbox boot and bench: wrong use ends in a sentence before any box is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boot_markers import Stage
from harness.boot_stages import boots
from harness.config import choose_bench
from harness.errors import BadInput
from tests.unit.boot_logs import timed
from tests.unit.test_cli import trustbox

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
ENTRY = f"""\
[bench-07]
kind = "bench"
serial = "TB-0042"
address = "192.0.2.7"
client_key = "/etc/key"
host_key = "{KEY}"
serial_url = "/nowhere/tty"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "targets.toml"
    path.write_text(ENTRY)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("boot", "log", "--target", "nobody"), "there is no target called 'nobody'"),
        (("boot", "log", "--target", "bench-07"), "say which box must be there, with --serial"),
        (("boot", "state", "--target", "bench-07", "--serial", "TB-1"), "--serial says TB-1"),
        (("bench", "repin", "emulator"), "emulator is no bench"),
        (("bench", "repin", "bench-07"), "say which box must be there, with --serial"),
        (
            ("bench", "adopt", "--serial-url", "/nowhere/tty", "--name", "bench-07"),
            "has a target called bench-07 already",
        ),
        (
            ("bench", "adopt", "--serial-url", "/x", "--name", "b", "--preset", "toaster"),
            "there is no preset 'toaster'",
        ),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    file: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = trustbox(*arguments, "--targets", str(file))

    assert done.returncode == 2
    assert said in done.stderr.splitlines()[0]
    assert file.read_text() == ENTRY


def test_a_bench_names_the_lines_of_its_own_firmware(file: Path) -> None:
    file.write_text(ENTRY + "\n[bench-07.boot_stages]\nready = '^station \\d+ ready$'\n")
    own = choose_bench("bench-07", file).boot_stages

    (boot,) = boots(timed("U-Boot 2019.10\nstation 7 ready"), own=own)

    assert boot.stages[-1].stage is Stage.READY


@pytest.mark.parametrize("line", ["bios = 'x'", "ready = '('", "ready = 7"])
def test_a_stage_that_cannot_be_is_named_with_its_key(file: Path, line: str) -> None:
    file.write_text(f"{ENTRY}\n[bench-07.boot_stages]\n{line}\n")

    with pytest.raises(BadInput) as refused:
        choose_bench("bench-07", file)

    assert refused.value.key == f"bench-07.boot_stages.{line.split()[0]}"
