"""What things are called: shares of a run, the keys in Redis below ``PREFIX:RUN:``, and who owns which symbol."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from typing import Final, NamedTuple

import msgspec

from engine.live.config import AppConfig

FIELD: Final = b"b"
"""The one field of an entry of a market stream: a frame of ``adapters/redis_batches.py``."""

_SHARE = re.compile(r"(\d{1,4})/(\d{1,4})")


class Share(msgspec.Struct, frozen=True):
    """Shard ``index`` of ``count``, from 0.

    >>> Share.parse("1/3").name
    'shard-1-of-3'
    >>> Share.parse("3/3")
    Traceback (most recent call last):
    ValueError: expected i/n with i from 0 to n-1, such as 0/2, found '3/3'
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``i/n``.

        Raises:
            ValueError: it is none.
        """
        found = _SHARE.fullmatch(text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(f"expected i/n with i from 0 to n-1, such as 0/2, found {text!r}")
        return cls(int(found[1]), int(found[2]))

    @property
    def name(self) -> str:
        """Of its folder, its lease and its consumer groups."""
        return f"shard-{self.index}-of-{self.count}"

    def owns(self, instrument: str) -> bool:
        """Whether an instrument (``VENUE:SYMBOL``) is this shard's; the same on every machine and in every process.

        >>> [Share(index, 3).owns("sim:BTCUSDT") for index in range(3)].count(True)
        1
        """
        digest = hashlib.blake2b(instrument.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index

    def others(self) -> list[Share]:
        """The other shards of the run."""
        return [Share(index, self.count) for index in range(self.count) if index != self.index]


class Keys(NamedTuple):
    """The keys of one run.

    >>> Keys("papertape", "demo").market("sim", "BTCUSDT")
    'papertape:demo:market:sim:BTCUSDT'
    """

    prefix: str
    run: str

    @classmethod
    def of(cls, config: AppConfig) -> Keys:
        """Those of a configuration."""
        return cls(config.redis.prefix, config.run.name)

    def key(self, *words: str) -> str:
        """Any key of the run."""
        return ":".join((self.prefix, self.run, *words))

    def market(self, venue: str, symbol: str) -> str:
        """The stream of a symbol's batches."""
        return self.key("market", venue, symbol)

    def lease(self, what: str) -> str:
        """Who owns a part of the run now; expires."""
        return self.key("lease", what)

    def fence(self, what: str) -> str:
        """The newest token that an owner of the part was given; never expires."""
        return self.key("fence", what)

    @property
    def instruments(self) -> str:
        """What the feed's venues trade, JSON."""
        return self.key("instruments")

    @property
    def jobs(self) -> str:
        """The stream of training jobs."""
        return self.key("jobs")

    def done(self, job: str) -> str:
        """What came of a job: the name of a payload, or ``!`` and why there is none."""
        return self.key("done", job)

    def payload(self, name: str) -> str:
        """A model by the SHA-256 of its content."""
        return self.key("payload", name)

    @property
    def doubts(self) -> str:
        """The stream of requests to bring a symbol's book in step again."""
        return self.key("doubts")


def owner_name() -> str:
    """This process as nobody else is called: host, process id and chance."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
