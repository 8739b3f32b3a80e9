"""Packed output: what the helper's encoder makes, liblzma reads; and a box cannot make it more."""

from __future__ import annotations

import lzma
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agent_build import sources
from harness.agent_unpack import FILTERS, MOST_PLAIN, Unpacker
from harness.errors import BadFrame
from tests.links.helper_process import SANITIZED

DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include "pack.h"
int main(int argc, char **argv)
{
	static uint8_t from[PACK_MOST], to[PACK_MOST];
	size_t most = argc > 1 ? (size_t)atoi(argv[1]) : PACK_MOST, n;

	while ((n = fread(from, 1, most, stdin))) {
		uint32_t head[2] = { (uint32_t)n, (uint32_t)pack(from, n, to, n - n / 8) };

		fwrite(head, sizeof(head), 1, stdout);
		fwrite(head[1] ? to : from, 1, head[1] ? head[1] : n, stdout);
	}
	return 0;
}
"""
Pack = Callable[[bytes, int], tuple[bytes, int]]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The encoder with sanitizers, and what came back: plain bytes, and bytes on the line."""
    place = tmp_path_factory.mktemp("pack")
    for name in ("pack.c", "pack.h"):
        (place / name).write_bytes(sources()[name])
    (place / "driver.c").write_text(DRIVER)
    program = place / "driver"
    files = [str(place / "driver.c"), str(place / "pack.c")]
    subprocess.run(["gcc", *SANITIZED, "-o", str(program), *files], check=True)

    def there_and_back(data: bytes, chunk: int) -> tuple[bytes, int]:
        command = [str(program), str(chunk)]
        rest = subprocess.run(command, input=data, capture_output=True, check=True).stdout
        line, came, unpacker = len(rest), b"", Unpacker()
        while rest:
            size, packed = struct.unpack_from("<II", rest)
            end = 8 + (packed or size)
            came += unpacker.take(rest[:4] + rest[8:end]) if packed else rest[8:end]
            rest = rest[end:]
        return came, line

    return there_and_back


def mixed(seed: int) -> bytes:
    """Repeats of every kind: near and far, short and long, noise between them."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    pool = chance.randbytes(50_000)
    pieces = []
    for _ in range(700):
        at = chance.randrange(len(pool))
        far = pool[at : at + chance.randrange(3, 400)]
        run = bytes([chance.randrange(256)]) * chance.randrange(600)
        pieces.append(chance.choice([far, far, run, chance.randbytes(9), b"line of a log\n"]))
    return b"".join(pieces)


@pytest.mark.parametrize("chunk", [200, 4096, 9999, 16384])
@pytest.mark.parametrize("seed", range(5))
def test_what_goes_in_comes_out(pack: Pack, seed: int, chunk: int) -> None:
    data = mixed(seed)

    assert pack(data, chunk)[0] == data


def test_text_gets_shorter(pack: Pack) -> None:
    text = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    came, line = pack(text, 16384)

    assert came == text
    assert line * 2 < len(text)


def test_noise_stays_as_it_is(pack: Pack) -> None:
    noise = random.Random(1).randbytes(100_000)  # noqa: S311
    came, line = pack(noise, 16384)

    assert came == noise
    assert line <= len(noise) + 8 * 7


def chunk_of(data: bytes) -> bytes:
    """One that begins anew, made by liblzma, without the end of its stream."""
    return lzma.compress(data, lzma.FORMAT_RAW, filters=FILTERS)[:-1]


def test_a_chunk_that_becomes_more_than_it_says_is_refused() -> None:
    bomb = chunk_of(bytes(MOST_PLAIN))

    with pytest.raises(BadFrame, match="became 101"):
        Unpacker().take(struct.pack("<I", 100) + bomb)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\1\0\0",
        struct.pack("<I", 100),
        struct.pack("<I", 0) + chunk_of(bytes(200)),
        struct.pack("<I", MOST_PLAIN + 1) + chunk_of(bytes(200)),
        struct.pack("<I", 200) + chunk_of(bytes(200))[:-1],
        struct.pack("<I", 200) + b"\x80" + chunk_of(bytes(200))[1:],
        struct.pack("<I", 200) + chunk_of(bytes(200)) + b"\0",
        struct.pack("<I", 200) + b"\xff" * 50,
    ],
)
def test_what_is_no_whole_chunk_is_refused(payload: bytes) -> None:
    with pytest.raises(BadFrame, match="packed frame"):
        Unpacker().take(payload)


def test_after_a_refusal_nothing_is_left_to_go_on_with() -> None:
    unpacker = Unpacker()
    with pytest.raises(BadFrame):
        unpacker.take(struct.pack("<I", 200) + b"\xff" * 50)

    with pytest.raises(BadFrame, match="packed frame"):
        unpacker.take(struct.pack("<I", 200) + b"\x80" + chunk_of(bytes(200))[1:])
