"""Broken variants of a good frame: cut, flipped and random bytes, and JSON with any one leaf replaced or removed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec

WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**63, 10**40, "", "-1.00000000", "NaN", "1e400", "0x10", " 1", "1.", ".5", "1" * 40, "ZZZ",
    "٣", [], [[]], [["1"]], {}, {"x": 1},
)  # fmt: skip
"""What a leaf is replaced with."""

LITERALS = (b"NaN", b"1e400", b"-0", b"Infinity")
"""What no JSON encoder writes, put in as it stands."""

KEPT_ITEMS = 3
"""Of a long array only the first items are mutated: the others are of the same shape."""


def bytes_of(body: bytes, chance: random.Random) -> Iterator[bytes]:
    """Truncations, flipped bits, doubled and dropped bytes, and bytes of chance."""
    yield b""
    for end in range(1, len(body), max(1, len(body) // 64)):
        yield body[:end]
    for at in range(len(body)):
        yield body[:at] + bytes([body[at] ^ (1 << chance.randrange(8))]) + body[at + 1 :]
    for _ in range(32):
        at = chance.randrange(len(body))
        yield body[:at] + body[at + 1 :]
        yield body[:at] + body[at : at + 1] + body[at:]
        yield chance.randbytes(chance.randrange(1, 64))
    yield body + b"}"
    yield body + body
    yield b"[" * 100_000
    yield b'{"data":' * 20_000


def leaves_of(body: bytes) -> Iterator[bytes]:
    """The frame with each leaf, and each container, replaced by each wrong value, and with each one removed.

    >>> {b"{}", b'{"a":null}', b'{"a":NaN}', b'{"a":-1}', b"[]"} <= set(leaves_of(b'{"a":1}'))
    True
    """
    tree: Any = msgspec.json.decode(body)
    for path in _paths(tree):
        for wrong in WRONG:
            yield (
                msgspec.json.encode(_put(tree, path, wrong))
                if not _is_big(wrong)
                else _spliced(tree, path, str(wrong).encode())
            )
        for literal in LITERALS:
            yield _spliced(tree, path, literal)
        if path:
            yield msgspec.json.encode(_removed(tree, path))


def _is_big(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 2**64


def _spliced(tree: Any, path: tuple[Any, ...], literal: bytes) -> bytes:
    return msgspec.json.encode(_put(tree, path, msgspec.Raw(literal)))


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _paths(value, (*path, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree[:KEPT_ITEMS]):
            yield from _paths(value, (*path, number))


def _put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = tree.copy()
    copy[path[0]] = _put(tree[path[0]], path[1:], value)
    return copy


def _removed(tree: Any, path: tuple[Any, ...]) -> Any:
    copy = tree.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _removed(tree[path[0]], path[1:])
    return copy
