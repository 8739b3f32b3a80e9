"""Both ends of the link's bookkeeping, on lines that lose and double frames."""

from __future__ import annotations

import random

import pytest

from harness.console_cksum import cksum
from harness.serial_health import SerialHealth
from harness.uart_frames import LinkFrame, LinkKind
from harness.uart_receiver import Receiver
from harness.uart_sender import SMALLEST, Segment, Sender


def frame(segment: Segment, push: bool = False) -> LinkFrame:
    return LinkFrame(LinkKind.DATA, 1, segment.tx, 0, 0, segment.offset, segment.data, push=push)


def carried(data: bytes, *, loss: float, double: float, seed: int, window: int = 2048) -> float:
    """Send ``data`` over a line of frames; returns the time that it took on a made-up clock."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    sender, receiver = Sender(window), Receiver()
    sender.put(data)
    now, came = 0.0, b""
    while sender.unconfirmed:
        assert now < 600, "it never ends"
        moved = False
        while (segment := sender.due(now)) is not None:
            moved = True
            if chance.random() < loss:
                continue
            for _ in range(2 if chance.random() < double else 1):
                fresh, _ = receiver.take(frame(segment))
                came += fresh
        if moved and chance.random() >= loss:  # the acknowledgement may be lost, too
            ack = LinkFrame(LinkKind.ACK, 1, payload=receiver.ranges())
            sender.acknowledged(receiver.expected, receiver.seen, ack.ranges, now + 0.01)
        now = now + 0.01 if sender.more else max(now + 0.01, sender.next_time() or 0)
    assert came == data
    return now


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("loss", "double"), [(0, 0), (0.05, 0), (0, 0.2), (0.3, 0.1)])
def test_every_byte_comes_once_and_in_order(loss: float, double: float, seed: int) -> None:
    data = random.Random(seed).randbytes(20_000)  # noqa: S311

    carried(data, loss=loss, double=double, seed=seed)


def test_a_loss_costs_a_round_trip_not_a_time_out() -> None:
    data = bytes(200_000)

    assert carried(data, loss=0.02, double=0, seed=1) < 2 * carried(data, loss=0, double=0, seed=1)


def test_no_more_is_under_way_than_the_window_holds() -> None:
    sender = Sender(2048)
    sender.put(bytes(100_000))
    under_way = 0
    while (segment := sender.due(0.0)) is not None:
        under_way += segment.cost

    assert 1024 < under_way <= 2048


def test_what_is_lost_is_sent_again_and_only_that() -> None:
    sender, receiver = Sender(1 << 20), Receiver()
    sender.put(bytes(512 * 4))
    sent = [sender.due(0.0) for _ in range(4)]
    for segment in (sent[0], sent[2], sent[3]):
        assert segment is not None
        receiver.take(frame(segment))
    ranges = LinkFrame(LinkKind.ACK, 1, payload=receiver.ranges()).ranges
    sender.acknowledged(receiver.expected, receiver.seen, ranges, 0.01)
    again = sender.due(0.01)

    assert again is sent[1]
    assert sender.due(0.01) is None
    assert sender.resent == 1


def test_losses_make_frames_smaller_and_a_clean_run_larger_again() -> None:
    sender = Sender(1 << 20)
    sender.put(bytes(1 << 20))

    def lengths(times: int, *, lost: bool) -> list[int]:
        found = []
        for _ in range(times):
            segment, later = sender.due(0.0), sender.due(0.0)
            assert segment is not None and later is not None
            found.append(len(later.data))
            reported = [] if not lost else [(later.offset, later.end)]
            sender.acknowledged(segment.offset if lost else later.end, later.tx, reported, 0.0)
            if lost:
                again = sender.due(0.0)
                assert again is segment
                sender.acknowledged(later.end, again.tx, [], 0.0)
        return found

    assert lengths(8, lost=True)[-1] == SMALLEST
    assert lengths(200, lost=False)[-1] == 1024


@pytest.mark.parametrize(
    ("ack", "seen", "ranges"),
    [(10**9, 1, []), (0, 60000, []), (0, 0, [(0, 0)]), (0, 5, [(2**32 - 1, 0)])],
)
def test_numbers_that_cannot_be_do_not_lose_data(
    ack: int, seen: int, ranges: list[tuple[int, int]]
) -> None:
    sender, receiver = Sender(2048), Receiver()
    sender.put(b"data")
    segment = sender.due(0.0)
    sender.acknowledged(ack, seen, ranges, 0.1)

    assert segment is not None
    assert sender.unconfirmed
    assert receiver.take(frame(segment))[0] == b"data"


def test_a_doubled_frame_is_told_and_given_once() -> None:
    receiver = Receiver()
    data = LinkFrame(LinkKind.DATA, 1, 1, 0, 0, 0, b"once")

    assert receiver.take(data)[0] == b"once"
    assert receiver.take(data) == (b"", True)
    assert receiver.doubled == 1


def test_health_of_a_time_is_the_difference() -> None:
    early, late = SerialHealth(bytes_in=10, gaps=1), SerialHealth(bytes_in=30, gaps=1)

    assert late - early == SerialHealth(bytes_in=20)
    assert (late - early).sound
    assert not late.sound


@pytest.mark.parametrize(
    ("data", "number"), [(b"", 4294967295), (b"a", 1220704766), (b"hello world" * 100, 2361281884)]
)
def test_the_check_sum_is_that_of_posix(data: bytes, number: int) -> None:
    """From GNU coreutils' cksum."""
    assert cksum(data) == (number, len(data))
