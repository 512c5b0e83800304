"""Ways in which a file goes wrong, each drawn from a seed: the same seed makes the same file."""

import random
import re
from collections.abc import Callable

__all__ = ["MUTATIONS", "mutate"]

_NUMBERS = ("0", "-1", "1e400", "nan", "inf", "-inf", "99999999999999999999", "100000", "1.5", "''", "null", "[]", "{}")
_BYTES = (
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\xff\xff\xff\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff" * 8,
    b"\0\0\xc0\x7f",
    b"\x1b[2J",
)
_WORDS = (b"..", b"/etc/passwd", b"@a", b"&a [*a]", b"!!python/object:os.system", b"$import os", b"%s%n", b"\xc3\x28")
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def flip(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 8, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(data: bytearray, rng: random.Random) -> bytes:
    if not data:
        return b""
    start = rng.randrange(len(data))
    end = len(data) if rng.random() < 0.7 else min(len(data), start + 1 + rng.randrange(64))
    return bytes(data[:start] + data[end:])


def splice(data: bytearray, rng: random.Random) -> bytes:
    if len(data) < 2:
        return bytes(data)
    a, b = sorted(rng.sample(range(len(data)), 2))
    part, at = bytes(data[a : min(b, a + 4096)]), rng.randrange(len(data))
    return bytes(data[:at]) + part * rng.choice((1, 1, 2, 50)) + bytes(data[at:])


def header(data: bytearray, rng: random.Random) -> bytes:
    """A field near the beginning gets a value at the edge of its type."""
    for _ in range(rng.choice((1, 1, 3))):
        at, new = rng.randrange(max(1, min(len(data), 700))), rng.choice(_BYTES)
        data[at : at + len(new)] = new
    return bytes(data)


def number(data: bytearray, rng: random.Random) -> bytes:
    """A number of a text gets another value."""
    places = list(_NUMBER.finditer(bytes(data[:20_000])))
    if not places:
        return header(data, rng)
    place = rng.choice(places)
    return bytes(data[: place.start()]) + rng.choice(_NUMBERS).encode() + bytes(data[place.end() :])


def line(data: bytearray, rng: random.Random) -> bytes:
    """A line is taken out, doubled, or given a word that it should not have."""
    lines = bytes(data).split(b"\n")
    n = rng.randrange(len(lines))
    kind = rng.randrange(3)
    if kind == 0:
        del lines[n]
    elif kind == 1:
        lines.insert(n, lines[n])
    else:
        at = rng.randrange(len(lines[n]) + 1)
        lines[n] = lines[n][:at] + rng.choice(_WORDS) + lines[n][at:]
    return b"\n".join(lines)


def nest(data: bytearray, rng: random.Random) -> bytes:
    """Brackets in brackets, or one thing a great many times."""
    deep = rng.choice((20, 200, 3000, 100_000))
    new = rng.choice((b"[" * deep, b"{" * deep, b'{"a":' * deep, b"- " * deep, b"a: " * deep, b"A" * deep, b"1," * deep,
                      b"[" * deep + b"]" * deep, b"&a [*a]" * min(deep, 500)))  # fmt: skip
    at = rng.choice((0, len(data), rng.randrange(len(data) + 1)))
    places = list(_NUMBER.finditer(bytes(data[:20_000])))
    if places and rng.random() < 0.5:
        place = rng.choice(places)
        return bytes(data[: place.start()]) + new + bytes(data[place.end() :])
    return bytes(data[:at]) + new + bytes(data[at:])


def whole(data: bytearray, rng: random.Random) -> bytes:
    """Something else in its place."""
    return rng.choice(
        (b"", b"\0" * 4096, b"<html>", b"version https://git-lfs", bytes(rng.randbytes(2000)), b"\n" * 5000)
    )


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    flip, flip, cut, splice, header, header, number, number, line, nest, whole,
)  # fmt: skip


def mutate(data: bytes, seed: str) -> bytes:
    """A file gone wrong in one to three ways."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(bytearray(data), rng)
    return data
