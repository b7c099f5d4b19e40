"""What comes out of the engine: facts, in order, each with a sequence number and the engine time.

A *fact* says what happened; a *record* is a fact with its place in the run. The digest of a run is taken over the
encoding of its records, so two runs with equal digests decided, traded and learned alike.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import msgspec

from engine.core.contest_facts import Promoted, ShadowAccount
from engine.core.drift_facts import AlarmGraded, AnswerEnded, DriftAlarm, RegimeTold, Trial
from engine.core.money_facts import Dividend, Funding, Interest, Liquidated, MarginCall, Settled, ShortFee, Split
from engine.core.order_facts import (
    Accepted,
    Amended,
    AmendRejected,
    AmendRequested,
    Armed,
    Assumed,
    Cancelled,
    CancelRejected,
    CancelRequested,
    Expired,
    Fact,
    Pending,
    Refusal,
    Rejected,
    Request,
    Sent,
    Triggered,
)
from engine.core.side_facts import SideChanged

__all__ = [  # the facts of orders and contests too: whoever reads records finds them here
    "Accepted",
    "AmendRejected",
    "AmendRequested",
    "Amended",
    "Armed",
    "Assumed",
    "CancelRejected",
    "CancelRequested",
    "Cancelled",
    "DriftAlarm",
    "Expired",
    "Fact",
    "Pending",
    "Promoted",
    "Refusal",
    "Rejected",
    "Request",
    "Sent",
    "ShadowAccount",
    "Triggered",
]


class FeedState(Fact, frozen=True, tag=True):
    """A book may be used from here on (``ready``), or not any more and why."""

    symbol: str
    ready: bool
    reason: str


class Signal(Fact, frozen=True, tag=True):
    """A prediction or score: from a model (``source`` is its name) or a strategy's ``emit``.

    ``value`` is in the unit that the source documents (models: basis points of mid return over ``horizon_ns``).
    """

    symbol: str
    source: str
    name: str
    value: float
    id: int = 0
    horizon_ns: int = 0


class Fill(Fact, frozen=True, tag=True):
    """Part or all of an order traded.

    ``fee`` is exact decimal text in ``fee_currency``, negative for a rebate. ``matched_ns`` is the engine time at
    which the market did it, the record's own time when the private message told it. ``queue_ahead`` is what stood in
    front when the order came, ``ahead_now`` just before it traded. ``number`` counts the order's fills from 1.

    How sure it is (see grades.py): ``grade``, the ``chance`` per mille that a real order would have had it as the queue
    ``model`` says, the ``cause``, and when the optimistic (``front_ns``) and the pessimistic twin (``back_ns``) had
    filled as much, engine time, 0: not yet. ``mid2``: twice the mid just after it, price units, 0: not known.
    ``latency_ns``: how long the order was on its way, from the decision to its effect in the received stream.
    """

    order: int
    strategy: str
    symbol: str
    side: int
    price: int
    size: int
    maker: bool
    fee: str
    fee_currency: str
    left: int
    queue_ahead: int
    matched_ns: int
    number: int = 1
    model: str = ""
    cause: str = ""
    grade: str = ""
    chance: int = 1000
    ahead_now: int = 0
    latency_ns: int = 0
    front_ns: int = 0
    back_ns: int = 0
    mid2: int = 0


class Regraded(Fact, frozen=True, tag=True):
    """Later prints settled a fill (``number`` of its order), or nothing did: its grade from here on, and why."""

    order: int
    number: int
    grade: str
    reason: str


class TwinFill(Fact, frozen=True, tag=True):
    """An order traded at ``matched_ns`` under other queue models than the venue's own; nobody's position moves."""

    order: int
    strategy: str
    symbol: str
    side: int
    models: list[str]
    price: int
    size: int
    cause: str
    matched_ns: int


class TwinAccount(Fact, frozen=True, tag=True):
    """A strategy's profit under each queue model at the last known mids; exact decimal text in ``currency``.

    ``hedged``: as if what a model's resting fills left beyond the run's had been closed soon (see twins.py).
    """

    strategy: str
    currency: str
    profits: dict[str, str]
    hedged: dict[str, str]


class Markout(Fact, frozen=True, tag=True):
    """Twice the mid at a fill and after each horizon of markouts.py, price units; 0 where the book was in doubt."""

    order: int
    number: int
    symbol: str
    place: str
    mids2: list[int]


class Missed(Fact, frozen=True, tag=True):
    """The same for an order that ended with ``left`` unfilled, from the moment it ended."""

    order: int
    strategy: str
    symbol: str
    side: int
    left: int
    mids2: list[int]


class LabelScored(Fact, frozen=True, tag=True, omit_defaults=True):
    """A prediction's label matured: it was scored, and only then learned.

    ``name``: which label, such as ``direction@5s``, where it is not the model's first. ``label`` in its unit.
    """

    model: str
    symbol: str
    id: int
    prediction: float
    label: float
    name: str = ""


class RetrainRequested(Fact, frozen=True, tag=True):
    """A window of ``rows`` samples was handed to the trainer; ``cause`` is ``schedule`` or ``drift``."""

    model: str
    cause: str
    rows: int


class ModelSwapped(Fact, frozen=True, tag=True):
    """A new model answers from the next prediction on."""

    model: str
    version: str


class ModelRefused(Fact, frozen=True, tag=True):
    """A new model was not taken; the last good one goes on."""

    model: str
    version: str
    reason: str


class RiskAction(Fact, frozen=True, tag=True):
    """A limit acted by itself: ``stop_loss``, ``drawdown``, ``kill_switch``, ``resume``."""

    rule: str
    scope: str
    detail: str


class Account(Fact, frozen=True, tag=True, omit_defaults=True):
    """What a strategy's account was worth at the last known mid prices; exact decimal text in ``currency``.

    ``equity`` is what it gained or lost since the start: realised plus unrealised less fees plus ``carry``, which is
    funding, interest, dividends and insurance received less paid.
    """

    strategy: str
    currency: str
    equity: str
    realised: str
    unrealised: str
    fees: str
    carry: str = "0"


class StrategyStopped(Fact, frozen=True, tag=True):
    """A strategy raised or was stopped; its orders are cancelled and the rest runs on."""

    strategy: str
    reason: str


class Note(Fact, frozen=True, tag=True):
    """A strategy's own words for the journal."""

    strategy: str
    fields: dict[str, Any]


class Calibrated(Fact, frozen=True, tag=True):
    """The queue model's share was estimated anew for an hour of the day (UTC) and is used from here on.

    ``share``: of a cancel what stands in front of the middle of a queue; ``low`` and ``high`` hold 95 %. ``cancels``
    were seen, ``told`` of them said something. Of ``ghosts`` that ended, ``surely`` were filled and ``surely_not``
    were not, whatever stood where in the queue.
    """

    symbol: str
    hour: int
    share: float
    low: float
    high: float
    cancels: int
    told: int
    ghosts: int
    surely: int
    surely_not: int


class Commanded(Fact, frozen=True, tag=True):
    """A user's command was obeyed."""

    name: str
    args: dict[str, Any]


AnyFact: TypeAlias = (
    FeedState
    | Signal
    | Request
    | Refusal
    | Sent
    | Accepted
    | Rejected
    | CancelRequested
    | Cancelled
    | CancelRejected
    | Pending
    | Armed
    | Triggered
    | AmendRequested
    | Amended
    | AmendRejected
    | Expired
    | Fill
    | Assumed
    | Regraded
    | TwinFill
    | TwinAccount
    | Markout
    | Missed
    | LabelScored
    | DriftAlarm
    | AlarmGraded
    | AnswerEnded
    | RegimeTold
    | Trial
    | RetrainRequested
    | ModelSwapped
    | Promoted
    | ShadowAccount
    | ModelRefused
    | RiskAction
    | Account
    | Calibrated
    | Funding
    | Interest
    | MarginCall
    | Liquidated
    | Dividend
    | Split
    | ShortFee
    | Settled
    | StrategyStopped
    | SideChanged
    | Note
    | Commanded
)


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A fact with its place in the run: ``seq`` counts from 1, ``ns`` is the engine time."""

    seq: int
    ns: int
    fact: AnyFact


encode = msgspec.msgpack.Encoder(order="sorted").encode
"""The one encoding of a record, by which runs are compared."""

PIECE = 1 << 14  # bytes of records that are hashed at a time


class Digest:
    """A running BLAKE2b over the msgpack encoding of records, whose state a snapshot can hold.

    The bytes are hashed in pieces of a fixed length, each together with the hash of all before it, so that what a call
    holds does not matter and no more than one piece has to be kept.

    >>> one, two = Digest(), Digest()
    >>> one.update([Record(1, 7, Note("s", {"a": 1}))])
    >>> one.hex() == two.hex()
    False
    """

    def __init__(self) -> None:
        self._before = b""
        self._piece = bytearray()

    def update(self, records: list[Record]) -> None:
        # The encoding of a list is its length and then its items: one call, and the length left out.
        length = len(records)
        self.add(memoryview(encode(records))[1 if length < 16 else 3 if length < 65_536 else 5 :])

    def add(self, encoded: bytes | memoryview) -> None:
        """Go on by records in their encoding, one after the other."""
        piece = self._piece
        piece += encoded
        while len(piece) >= PIECE:
            self._before = _chained(self._before, piece[:PIECE])
            del piece[:PIECE]

    def hex(self) -> str:
        return _chained(self._before, self._piece).hex()


def _chained(before: bytes, piece: bytearray) -> bytes:
    return hashlib.blake2b(before + piece, digest_size=16).digest()
