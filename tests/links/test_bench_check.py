"""``trustbox targets check`` against real ends: what it proves, and what it says of each fault."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench_check import Check, Verdict, check_bench, exit_status
from harness.bench_lab import lab_directory, line_key
from harness.bench_lock import BenchLock
from harness.bench_quarantine import quarantine
from harness.errors import Misuse
from tests.links.bench import BenchBox
from tests.links.bench_fixtures import SERIAL, power_line
from tests.links.power_server import PowerServer
from tests.links.sshd import make_key
from tests.supplicant_process import running

pytestmark = pytest.mark.slow


def check(box: BenchBox, *, cut: bool = False, **lines: str) -> dict[str, Check]:
    """``cut`` permits to cut the power; ``lines`` go into the entry."""
    found = check_bench(box.config(**lines), serial=SERIAL, power=cut, patience=1.5)
    return {one.name: one for one in found}


def failed(checks: dict[str, Check]) -> list[str]:
    return [name for name, one in checks.items() if one.verdict is Verdict.FAIL]


def skipped(checks: dict[str, Check]) -> list[str]:
    return [name for name, one in checks.items() if one.verdict is Verdict.SKIPPED]


def here(box: BenchBox, **more: str) -> str:
    """A layout that this machine has."""
    paths = {
        "agent_directory": box.directory,
        "ta_directory": box.directory / "ta",
        "storage_root": box.directory / "ta",
        "tee_device": "/dev/null",
        **more,
    }
    return "{ " + ", ".join(f'{key} = "{path}"' for key, path in paths.items()) + " }"


def a_library() -> str:
    """A shared library of this machine that is no program's own."""
    maps = Path("/proc/self/maps").read_text()
    return next(line.split()[-1] for line in maps.splitlines() if "/libc.so" in line)


def test_a_bench_whose_entry_is_true_passes(bench_box: BenchBox, pdu: PowerServer) -> None:
    layout = here(bench_box, pkcs11_module=a_library())
    checks = check(bench_box, cut=True, power=power_line(pdu), layout=layout)

    assert failed(checks) == []
    # This machine has no TEE: nobody could answer one.
    assert skipped(checks) == ["tee-supplicant", "storage lasts"]
    assert exit_status(list(checks.values())) == 0
    assert bench_box.cuts == 1
    assert "U-Boot 2025.01" in checks["power"].said
    assert checks["console"].said == "a key brings 'login:'"


@pytest.mark.fault(
    "TEE storage",
    "the TEE's storage lies in RAM, seen by targets check",
    comes="its line storage lasts fails, status 7, with the place and its file system",
    then="mount a disk there, or start tee-supplicant with another --fs-parent-path",
    case="F-23",
)
def test_a_storage_in_ram_is_a_line_of_the_report(bench_box: BenchBox, tmp_path: Path) -> None:
    with running(tmp_path, "-f", "/dev/shm"):
        checks = check(bench_box, layout=here(bench_box))

    assert checks["tee-supplicant"].said == "it runs"
    assert "storage lasts" in failed(checks)
    assert "/dev/shm: it is on tmpfs" in checks["storage lasts"].said
    assert checks["storage lasts"].exit_status == 7


def test_power_is_not_cut_unasked(bench_box: BenchBox, pdu: PowerServer) -> None:
    checks = check(bench_box, power=power_line(pdu))

    assert checks["power"].said == "not asked to cut power: --power"
    assert bench_box.cuts == 0


def test_a_fault_on_the_box_is_named_and_the_rest_is_looked_at(bench_box: BenchBox) -> None:
    gone = here(bench_box, ta_directory="/no/ta", tee_device="/no/tee", pkcs11_module="/etc/passwd")
    checks = check(bench_box, layout=gone)

    assert failed(checks) == ["TA directory", "TEE device", "PKCS#11 module"]
    assert checks["PKCS#11 module"].said.startswith("/etc/passwd does not load: ")
    assert all(checks[name].mend for name in failed(checks))
    assert checks["capabilities"].verdict is Verdict.PASS


def test_nothing_is_asked_of_another_box(bench_box: BenchBox, pdu: PowerServer) -> None:
    bench_box.write_serial("TB-0043")
    typed: list[bytes] = []
    bench_box.hears = typed.append
    checks = check(bench_box, cut=True, power=power_line(pdu))

    assert failed(checks) == ["serial number"]
    assert "TB-0043" in checks["serial number"].said
    assert skipped(checks)[0] == "console"
    assert checks["capabilities"].said == "needs serial number"
    assert (typed, pdu.asked) == ([], [])


def test_another_host_key_is_told_with_both_and_nobody_logs_in(bench_box: BenchBox) -> None:
    checks = check(bench_box, host_key=f'"{make_key(bench_box.directory / "other")}"')

    assert failed(checks) == ["host key"]
    assert checks["host key"].said.count("SHA256:") == 2
    assert "compare before you pin" in checks["host key"].mend
    assert checks["login"].said == "needs host key"
    assert exit_status(list(checks.values())) == 5


def test_a_login_that_is_refused_is_not_a_wrong_host_key(bench_box: BenchBox) -> None:
    make_key(bench_box.directory / "stranger")
    checks = check(bench_box, client_key=f'"{bench_box.directory}/stranger"')

    assert checks["host key"].verdict is Verdict.PASS
    assert failed(checks) == ["login"]


def test_a_cable_to_another_box_is_found(bench_box: BenchBox, tmp_path: Path) -> None:
    (tmp_path / "other-console").write_text("")
    checks = check(bench_box, console_tty=f'"{tmp_path}/other-console"')

    assert failed(checks)[0] == "same box"
    assert "did not arrive on the serial line" in checks["same box"].said
    assert checks["console"].verdict is Verdict.PASS


def test_a_silent_console_is_found(bench_box: BenchBox) -> None:
    bench_box.answers_keys = False
    checks = check(bench_box)

    assert failed(checks)[0] == "console"
    assert "115200 8N1" in checks["console"].mend


def test_a_serial_line_that_is_not_there_leaves_the_rest_to_ssh(bench_box: BenchBox) -> None:
    checks = check(bench_box, serial_url='"/dev/no-such-uart"')

    assert failed(checks)[0] == "serial line"
    assert checks["console"].said == "needs serial line"
    assert checks["serial number"].verdict is Verdict.PASS


def test_a_box_that_is_off_is_given_power_only_when_asked(
    bench_box: BenchBox, pdu: PowerServer
) -> None:
    bench_box.off()
    assert "address" in failed(check(bench_box, power=power_line(pdu)))
    assert not bench_box.is_on

    checks = check(bench_box, cut=True, power=power_line(pdu))
    assert checks["address"].said.endswith("after power was given")


def test_a_broken_promise_is_a_failure(bench_box: BenchBox) -> None:
    checks = check(bench_box, promises='["pkcs11"]')

    assert checks["capabilities"].said == "promised and not found: pkcs11"


def test_a_bench_in_use_is_left_alone(bench_box: BenchBox) -> None:
    config = bench_box.config()
    lock = BenchLock(lab_directory(config.lab_directory), line_key(config.line))
    lock.take()
    checks = check(bench_box)
    lock.release()

    assert failed(checks) == ["free"]
    assert len(skipped(checks)) == len(checks) - 1
    assert exit_status(list(checks.values())) == 8


def test_a_quarantined_bench_can_be_looked_at(bench_box: BenchBox) -> None:
    lab = lab_directory(bench_box.config().lab_directory)
    quarantine(lab, [line_key(bench_box.uart)], serial=SERIAL, reason="it hung")
    checks = check(bench_box)

    assert failed(checks)[0] == "quarantine"
    assert checks["login"].verdict is Verdict.PASS


def test_without_a_serial_number_nothing_is_checked(bench_box: BenchBox) -> None:
    with pytest.raises(Misuse, match="--serial"):
        next(check_bench(bench_box.config(), serial=None))


def trustbox(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from provisioning.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_command_tells_json_and_an_exit_status(bench_box: BenchBox) -> None:
    file = bench_box.directory / "targets.toml"
    file.write_text(bench_box.entry(layout=here(bench_box, tee_device="/no/tee")))
    arguments = ("check", "bench-07", "--serial", SERIAL, "--targets", str(file), "--json")
    done = trustbox("targets", *arguments)

    told = json.loads(done.stdout)
    assert (told["target"], told["ok"], done.returncode) == ("bench-07", False, 6)
    verdicts = {one["name"]: one["verdict"] for one in told["checks"]}
    assert verdicts["TEE device"] == "fail"
    assert verdicts["same box"] == "pass"


def test_the_list_tells_who_holds_a_bench_and_a_release_lifts_a_quarantine(
    bench_box: BenchBox,
) -> None:
    file, lab = bench_box.directory / "targets.toml", lab_directory(bench_box.directory / "lab")
    file.write_text(bench_box.entry())
    lock = BenchLock(lab, line_key(bench_box.uart))
    lock.take()
    held = trustbox("targets", "list", "--targets", str(file)).stdout
    lock.release()
    quarantine(lab, [line_key(bench_box.uart)], serial=SERIAL, reason="it hung")
    marked = trustbox("targets", "list", "--targets", str(file)).stdout
    released = trustbox("targets", "release", "bench-07", "--targets", str(file)).stdout

    assert "bench" in held
    assert "held by" in held
    assert "in quarantine: TB-0042" in marked
    assert released.startswith("released: TB-0042")
