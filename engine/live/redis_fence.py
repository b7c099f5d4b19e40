"""Writes to Redis that a stale owner cannot do: a script that compares its token with the newest one first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

Words: TypeAlias = tuple[str | int | bytes, ...]
"""A command of Redis and its arguments."""

FENCED: Final = """
local newest = redis.call('GET', KEYS[1])
if newest and tonumber(newest) > tonumber(ARGV[1]) then return redis.error_reply('STALE ' .. newest) end
local at, answers = 2, {}
while at <= #ARGV do
  local count, words = tonumber(ARGV[at]), {}
  for word = 1, count do words[word] = ARGV[at + word] end
  answers[#answers + 1] = redis.call(unpack(words))
  at = at + count + 1
end
return answers
"""
"""``KEYS[1]``: where the newest token is; ``ARGV``: ours, then of each command the number of its words, and them."""

MOST_WORDS: Final = 100_000
"""Words of one script call; more commands than that go in several."""


class Fence(Protocol):
    """Whose writes are taken: the key of the newest token, and our own."""

    @property
    def fence(self) -> str: ...

    @property
    def token(self) -> int: ...


def fenced(owner: Fence, commands: Sequence[Words]) -> Iterable[Words]:
    """The calls of Redis that run these commands in order if the token is the newest.

    >>> class Mine:
    ...     fence, token = "f", 7
    >>> [call[2:] for call in fenced(Mine(), [("SET", "a", 1), ("PING",)])]
    [(1, 'f', 7, 3, 'SET', 'a', 1, 1, 'PING')]
    """
    flat: list[str | int | bytes] = []
    for command in commands:
        if len(flat) + len(command) > MOST_WORDS:
            yield ("EVAL", FENCED, 1, owner.fence, owner.token, *flat)
            flat = []
        flat += (len(command), *command)
    if flat:
        yield ("EVAL", FENCED, 1, owner.fence, owner.token, *flat)
