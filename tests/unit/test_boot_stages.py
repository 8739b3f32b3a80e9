"""Stages of a boot: recognised for both chains, timed, and told apart from the next boot."""

from __future__ import annotations

import pytest

from harness.boot_markers import Chain, Stage, own_markers
from harness.boot_stages import Boot, boot_since, boots, merged
from harness.errors import BadInput
from harness.target import ConsoleLine
from tests.unit.boot_logs import (
    EDGE_SECURE,
    EDGE_UNFUSED,
    EDGE_UNFUSED_STEPS,
    EDGEXL,
    EMULATED_NORMAL,
    EMULATED_SECURE,
    lines_at,
    timed,
)

ALL = list(Stage)


def _one(text: str) -> Boot:
    (boot,) = boots(timed(text))
    return boot


def _names(boot: Boot) -> list[Stage]:
    return [seen.stage for seen in boot.stages]


@pytest.mark.parametrize(("log", "chain"), [(EDGE_UNFUSED, Chain.PPA), (EDGEXL, Chain.TFA)])
def test_every_stage_of_a_chain_is_recognised_in_its_order(log: str, chain: Chain) -> None:
    boot = _one(log)

    assert boot.chain is chain
    assert _names(boot) == ALL
    assert boot.complete
    assert boot.stopped is None


def test_each_stage_has_its_time_and_lasts_until_the_next() -> None:
    boot = _one(EDGE_UNFUSED)

    since = {seen.stage.name.lower(): round(seen.since or 0.0, 3) for seen in boot.stages}
    assert {name: since[name] for name in EDGE_UNFUSED_STEPS} == EDGE_UNFUSED_STEPS
    assert boot.stages[0].seconds == pytest.approx(0.1)
    assert boot.stages[-1].seconds is None


def test_two_uarts_are_one_boot_in_the_order_of_time() -> None:
    boot = boot_since([EMULATED_NORMAL, EMULATED_SECURE], 0.5)

    assert boot.chain is Chain.TFA
    assert _names(boot) == ALL
    assert boot.stages[2].since == pytest.approx(0.307)
    assert boot.origin == "power-on"


def test_a_boot_that_stops_says_where_and_quotes_the_last_line() -> None:
    boot = _one("\n".join(EDGEXL.splitlines()[:6]))

    assert boot.reached is Stage.MONITOR
    assert boot.stopped == (
        "the boot stands in EL3 firmware; its last line 0.50 s after first line:"
        " 'NOTICE:  Welcome to LS1046 BL31 Phase'"
    )


def test_a_kernel_that_says_nothing_is_where_the_boot_stands() -> None:
    until = next(i for i, line in enumerate(EMULATED_NORMAL) if "Starting" in line.text)
    boot = boot_since([EMULATED_NORMAL[: until + 1], EMULATED_SECURE], 0.5)

    assert boot.reached is Stage.KERNEL
    assert not boot.complete


def test_silence_is_no_boot() -> None:
    boot = boot_since([[], []], 5.0)

    assert boot.stages == ()
    assert boot.stopped == "no stage of the boot was recognised; the consoles said nothing"


def test_noise_alone_is_no_stage() -> None:
    (boot,) = boots(timed("\\xf8\\x00~~\n????"))

    assert boot.stages == ()
    assert boot.stopped is not None


def test_each_boot_in_a_record_is_one_of_its_own() -> None:
    twice = [*timed(EDGE_UNFUSED), *timed(EDGE_SECURE, start=200.0), *timed(EDGEXL, start=300.0)]

    found = boots(twice)

    assert [boot.chain for boot in found] == [Chain.PPA, Chain.PPA, Chain.TFA]
    assert [boot.complete for boot in found] == [True, False, True]
    assert found[1].reached is Stage.UBOOT


def test_a_boot_loop_in_the_first_stage_is_many_boots() -> None:
    start = "NOTICE:  Booting Trusted Firmware\nERROR:   BL2: Failed to load image id 21 (-80)"

    assert len(boots(timed("\n".join([start] * 3)))) == 3


def test_what_a_user_does_at_u_boot_s_prompt_is_no_new_boot() -> None:
    asked = EDGEXL.replace("Starting kernel", "=> version\nU-Boot 2019.10 (May)\nStarting kernel")

    assert _names(_one(asked)) == ALL


def test_what_was_said_before_power_came_is_left_out() -> None:
    old = timed(EDGE_UNFUSED, start=10.0)

    boot = boot_since([[*old, *timed(EDGEXL, start=100.0)]], 99.0)

    assert boot.chain is Chain.TFA
    assert boot.stages[0].since == pytest.approx(1.0)


def test_first_words_behind_an_old_prompt_count_and_have_the_next_line_s_time() -> None:
    glued = ConsoleLine(50.0, "trustbox login: NOTICE:  Booting Trusted Firmware")

    boot = boot_since([[glued, *timed("NOTICE:  BL1: v2.12.1(release):", start=100.5)]], 100.0)

    assert _names(boot) == [Stage.FIRST]
    assert boot.stages[0].since == pytest.approx(0.5)


def test_a_record_that_came_in_one_piece_has_stages_but_no_times() -> None:
    boot = _one_at_once(EDGE_UNFUSED)

    assert _names(boot) == ALL
    assert {seen.since for seen in boot.stages} == {None}
    assert boot.seconds is None


def _one_at_once(text: str) -> Boot:
    (boot,) = boots(timed(text, step=0.0))
    return boot


def test_a_login_that_was_used_is_still_the_login() -> None:
    assert _one(EDGE_UNFUSED + "root").complete


def test_what_is_quoted_is_bounded_and_printable() -> None:
    rude = "NOTICE:  BL31: v1\x1b[2J" + "A" * 5000

    boot = _one(rude)

    assert len(boot.last_line) <= 200
    assert boot.last_line.isprintable()


def test_markers_of_one_s_own_count_first() -> None:
    own = own_markers(
        {"ready": r"^station \d+ ready$"}, where="t.toml", under="bench-07.boot_stages"
    )

    (boot,) = boots(timed("U-Boot 2019.10\nStarting kernel ...\nstation 7 ready"), own=own)

    assert boot.complete


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"bios": "x"}, "one of"),
        ({"ready": "("}, "regular expression"),
        ({"ready": ""}, "1 to 200"),
        ({"ready": "x" * 201}, "1 to 200"),
    ],
)
def test_a_marker_that_makes_no_sense_is_refused(table: dict[str, str], expected: str) -> None:
    with pytest.raises(BadInput, match=expected) as refused:
        own_markers(table, where="t.toml", under="bench-07.boot_stages")

    assert refused.value.where == "t.toml"
    assert refused.value.key.startswith("bench-07.boot_stages.")


def test_merging_keeps_every_line() -> None:
    both = merged(EMULATED_NORMAL, EMULATED_SECURE)

    assert len(both) == len(EMULATED_NORMAL) + len(EMULATED_SECURE)
    assert [line.at for line in both] == sorted(line.at for line in both)


def test_json_has_every_stage_with_its_time() -> None:
    told = boot_since([EMULATED_NORMAL, lines_at()], 0.5).to_dict()

    assert told["complete"] is True
    assert isinstance(told["stages"], list)
    assert told["stages"][0] == {
        "stage": "first",
        "name": "first stage",
        "since": 0.059,
        "seconds": 0.203,
        "line": "NOTICE:  Booting Trusted Firmware",
    }
