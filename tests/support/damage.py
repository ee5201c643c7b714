"""Damage to the bytes of a body: what networks, disks and attackers do to a file, by a seeded generator."""

from __future__ import annotations

import random
import re
import struct

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

TOKENS = (
    *(
        b"null",
        b"true",
        b"NaN",
        b"-1",
        b"0.5",
        b"1e999",
        b"9" * 30,
        b"9007199254740993",
        b'""',
        b'"x"',
        b'"NA"',
    ),
    *(
        b"[]",
        b"[[]]",
        b"{}",
        b'{"a":1}',
        b"[" * 40,
        b'"\\ud800"',
        b'"\\u0000"',
        b'"9999-12-31"',
        b"args",
        b"2024-13-45",
    ),
)
_TOKEN = re.compile(rb'"[^"]{0,40}"|[0-9][0-9.eE+-]*|true|false|null')


def damaged(body: bytes, rng: random.Random) -> bytes:
    """The body with one to four kinds of damage; never the body itself."""
    found = body
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        found = rng.choice(KINDS)(found or b"\0", rng)
    return found if found != body else body[:-1]


def _flip(body: bytes, rng: random.Random) -> bytes:
    """Some bits the other way round."""
    data = bytearray(body)
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _lose_the_start(body: bytes, rng: random.Random) -> bytes:
    return body[rng.randrange(len(body)) :]


def _fill(body: bytes, rng: random.Random) -> bytes:
    """A stretch of zeros, ones or noise."""
    at, size = rng.randrange(len(body)), rng.randrange(1, 64)
    kind = rng.choice((b"\0" * size, b"\xff" * size, rng.randbytes(size)))
    return body[:at] + kind + body[at + size :]


def _repeat(body: bytes, rng: random.Random) -> bytes:
    """A stretch that is there twice, or many times."""
    at = rng.randrange(len(body))
    piece = body[at : at + rng.randrange(1, 200)]
    return body[:at] + piece * rng.choice((2, 3, 50)) + body[at:]


def _drop(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body))
    return body[:at] + body[at + rng.randrange(1, 100) :]


def _extreme(body: bytes, rng: random.Random) -> bytes:
    """A number at its limit, where a length or an offset may be."""
    at = rng.randrange(len(body))
    form = rng.choice(("<I", "<Q", ">I", "<H"))
    piece = struct.pack(form, rng.choice(EXTREMES) & (256 ** struct.calcsize(form) - 1))
    return body[:at] + piece + body[at + len(piece) :]


def _swap(body: bytes, rng: random.Random) -> bytes:
    """Two stretches in each other's places."""
    first, second = sorted((rng.randrange(len(body)), rng.randrange(len(body))))
    size = min(rng.randrange(1, 32), second - first)
    if not size:
        return body + b"\0"
    return (
        body[:first]
        + body[second : second + size]
        + body[first + size : second]
        + body[first : first + size]
        + body[second + size :]
    )


def _one_bit(body: bytes, rng: random.Random) -> bytes:
    data = bytearray(body)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _other_token(body: bytes, rng: random.Random) -> bytes:
    """Another number, text or word in the place of one: what a text form can still read."""
    tokens = list(_TOKEN.finditer(body))
    if not tokens:
        return _one_bit(body, rng)
    found = rng.choice(tokens)
    return body[: found.start()] + rng.choice(TOKENS) + body[found.end() :]


KINDS = (
    _one_bit,
    _one_bit,
    _other_token,
    _other_token,
    _flip,
    _cut,
    _lose_the_start,
    _fill,
    _repeat,
    _drop,
    _extreme,
    _swap,
)
