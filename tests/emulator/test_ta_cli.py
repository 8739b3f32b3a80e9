"""``trustbox ta`` on an emulated box of its own: from the source to the box and off it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.box_store import remove_box
from harness.deadline import Deadline
from provisioning.enclave_build import SAMPLE as SOURCE
from provisioning.sample_enclave import SAMPLE
from tests.typed import Said
from tests.unit.ta_parts import key_file, ta

pytestmark = [pytest.mark.enclave, pytest.mark.slow, pytest.mark.timeout(600)]

OF = ("--target", "emulator", "--serial", "TB-EMU-TA-CLI")


@pytest.fixture(scope="module", autouse=True)
def no_box_is_left() -> Iterator[None]:
    yield
    remove_box("TB-EMU-TA-CLI", by=Deadline.after(60))


def done(*words: str | Path) -> Said:
    ended = ta(*words)
    assert ended.status == 0, ended.err
    return ended


def listed() -> dict[str, dict[str, object]]:
    told = json.loads(done("list", *OF, "--json").out)
    return {one["uuid"]: one for one in told["enclaves"]}


def test_an_enclave_goes_from_its_source_to_the_box_and_off_it_again(tmp_path: Path) -> None:
    """And one of a stranger's, which the box refuses, is told so and changes nothing."""
    clear, sealed, foreign = (tmp_path / f"{name}.ta" for name in ("clear", "sealed", "foreign"))
    done("build", SOURCE, "-o", clear)
    done("encrypt", clear, "-o", sealed, *OF)
    done("verify", sealed, *OF, "--uuid", str(SAMPLE))
    done("resign", clear, "--key", key_file(tmp_path, "stranger"), "-o", foreign)
    done("install", sealed, *OF)
    refused = ta("install", foreign, *OF)

    assert (refused.status, "0xffff000f" in refused.err) == (6, True)
    one = listed()[str(SAMPLE)]
    assert (one["encrypted"], one["signer"], one["fault"]) == (True, "firmware", "")
    done("remove", str(SAMPLE), *OF)
    assert str(SAMPLE) not in listed()
