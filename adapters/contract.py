"""The contract of a venue: a parser with a memory, without a socket, a clock or a file.

The connection around it owns everything that can block or fail. A venue is told what happened (``opened``,
``received``, ``replied``, ``ticked``, ``doubted``) and answers with values: batches of market data, frames to send,
pages to fetch. One instance is one connection's memory; a new connection gets a new instance.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import ClassVar, TypeAlias

import msgspec

from engine.core.checksums import Checksum
from engine.core.events import Batch
from engine.core.types import Instrument


class Recovery(Enum):
    """What the connection does about an error."""

    SKIP = "skip"  # count it, sample it to the log, go on
    RECONNECT = "reconnect"  # close, wait, open with a new instance
    STOP = "stop"  # no retry can help: stop this venue and say why


class AdapterError(Exception):
    """Base of what a venue may raise; ``recovery`` says what happens next.

    AdapterError
    ├── MalformedFrame        SKIP       a frame that is not what the venue documents
    ├── VenueFault            RECONNECT  the venue said that something is wrong on its side
    └── SubscriptionRefused   STOP       the venue will not serve a symbol or channel
    """

    recovery: ClassVar[Recovery] = Recovery.RECONNECT


class MalformedFrame(AdapterError):
    """A frame that is not what the venue documents; nothing of it was used."""

    recovery = Recovery.SKIP


class VenueFault(AdapterError):
    """The venue reported a fault of its own."""

    recovery = Recovery.RECONNECT


class SubscriptionRefused(AdapterError):
    """The venue refused a symbol or channel; the text names it."""

    recovery = Recovery.STOP


class Send(msgspec.Struct, frozen=True):
    """A text frame for the websocket."""

    frame: bytes


class Fetch(msgspec.Struct, frozen=True):
    """A GET whose body comes back through ``replied(token, body, …)``. ``not_before_ns`` paces retries."""

    url: str
    token: str
    not_before_ns: int = 0


Output: TypeAlias = Batch | Send | Fetch


class MissedPage(msgspec.Struct, frozen=True):
    """What a venue tells of a past in which nobody listened, oldest first; times are its own, ns UTC.

    ``prints``: time, price, size in units, the aggressor (1 bought, -1 sold, 0 unknown), and the id of the last trade
    in it as the stream of trades has it (0: not known). ``bars``: end, lowest and highest price. ``more`` is where the
    next page is, empty: there is none.
    """

    prints: list[tuple[int, int, int, int, int]] = []
    bars: list[tuple[int, int, int]] = []
    more: str = ""


class VenueSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the connection must know of a venue."""

    name: str
    docs_url: str
    ws_url: str
    rest_url: str
    silence_s: float  # longest healthy quiet on the socket before the watchdog reconnects
    max_symbols: int  # per connection
    max_age_s: float = 86_400.0  # the venue closes a connection of this age


class Venue(abc.ABC):
    """One connection's memory of one venue.

    ``instruments`` maps the venue's own symbol to the engine's index and the instrument.
    """

    spec: ClassVar[VenueSpec]
    checksum: ClassVar[Checksum | None] = None
    """The venue's own checksum of a book, where it sends one (a CHECK row ends the frame); a ``staticmethod``."""
    rules: ClassVar[str] = ""
    """The rules that the venue holds orders against, a name of engine/core/venue/venue_families.py; empty: by its own
    name, and ``plain`` where that is not known there."""
    samples: ClassVar[str] = ""
    """A sample conversation for the conformance cards; empty: ``samples/<spec.name>.jsonl`` beside the module."""

    def __init__(self, instruments: Mapping[str, tuple[int, Instrument]], rest_url: str = "") -> None:
        self.instruments = dict(instruments)
        self.rest_url = (rest_url or self.spec.rest_url).rstrip("/")
        self.unknown = 0
        """Frames of streams and symbols that nobody asked for: tolerated, and counted."""

    def follows(self, before: Venue) -> None:
        """Take over what outlives the lost connection of ``before``; by default nothing. Called before ``opened``."""
        del before

    @classmethod
    @abc.abstractmethod
    def websocket_url(cls, ws_url: str, symbols: Sequence[str]) -> str:
        """The address to open for these symbols, from the configured or default base."""

    @classmethod
    @abc.abstractmethod
    def instruments_url(cls, rest_url: str) -> str:
        """Where the venue lists what it trades."""

    @classmethod
    @abc.abstractmethod
    def parse_instruments(cls, venue: str, body: bytes) -> dict[str, Instrument]:
        """Every listed instrument by the venue's own symbol; ``venue`` is the name in the config.

        Raises:
            MalformedFrame: the body is not what the venue documents.
        """

    @classmethod
    def sniff(cls, frame: bytes) -> bool:
        """Is this frame of a foreign recording surely this venue's? A venue that cannot tell says no."""
        del frame
        return False

    @classmethod
    def infer_instruments(cls, venue: str, frames: Iterable[bytes]) -> dict[str, Instrument]:
        """Instruments of a recording without the venue's list, as its frames show them (``source`` is ``wire``)."""
        del venue, frames
        return {}

    @classmethod
    def missed_url(cls, rest_url: str, symbol: str, since_ns: int, until_ns: int) -> str:
        """Where the venue tells what traded after ``since_ns``, its own clock; empty: it does not."""
        del rest_url, symbol, since_ns, until_ns
        return ""

    @classmethod
    def missed_bars_url(cls, rest_url: str, symbol: str, since_ns: int, until_ns: int) -> str:
        """The same in bars, for what is too much to be told trade by trade; empty: it has none."""
        del rest_url, symbol, since_ns, until_ns
        return ""

    @classmethod
    def parse_missed(cls, url: str, body: bytes, instrument: Instrument, until_ns: int) -> MissedPage:
        """One of those pages.

        Raises:
            MalformedFrame: the body is not what the venue documents.
        """
        del body, instrument, until_ns
        raise MalformedFrame(f"expected a venue that tells what was missed, found an answer from {url}")

    @abc.abstractmethod
    def opened(self, now_ns: int) -> Sequence[Output]:
        """The websocket is open: subscriptions, first fetches, and an ``UP`` row a symbol."""

    @abc.abstractmethod
    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        """A frame came. Raises only ``AdapterError``, and then nothing of the frame was used."""

    @abc.abstractmethod
    def replied(self, token: str, body: bytes, recv_ns: int) -> Sequence[Output]:
        """The answer to a ``Fetch`` (an empty body: it failed)."""

    @abc.abstractmethod
    def ticked(self, now_ns: int) -> Sequence[Output]:
        """About once a second: pings, timeouts, paced retries."""

    @abc.abstractmethod
    def doubted(self, symbol: int, now_ns: int) -> Sequence[Output]:
        """The engine found the book of this instrument index wrong (crossed, negative): resynchronise it."""

    @classmethod
    @abc.abstractmethod
    def token_of(cls, url: str) -> str | None:
        """The token under which a recorded REST address would have been fetched; None where it is not one of ours."""
