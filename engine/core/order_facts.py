"""What happens to orders, told as facts: what was asked, what risk and the venue said, what changed and ended them."""

from __future__ import annotations

import msgspec

from engine.core.desk.order_terms import PLAIN, Terms


class Fact(msgspec.Struct, frozen=True, tag=True):
    """Something that happened. Symbols are instrument names (``venue:SYMBOL``); prices and sizes integer units."""


class Request(Fact, frozen=True, tag=True, omit_defaults=True):
    """A strategy wants an order; risk has not seen it yet. ``price`` is 0 for a market order."""

    order: int
    strategy: str
    symbol: str
    side: int
    kind: str
    time_in_force: str
    price: int
    size: int
    post_only: bool
    terms: Terms = PLAIN


class Refusal(Fact, frozen=True, tag=True):
    """Risk refused the request: ``rule`` is one of a fixed set of words, ``detail`` says what was allowed and asked."""

    order: int
    strategy: str
    symbol: str
    rule: str
    detail: str


class Sent(Fact, frozen=True, tag=True):
    """Risk approved; the order is on its way and meets the market at ``arrives_ns``."""

    order: int
    arrives_ns: int


class Accepted(Fact, frozen=True, tag=True):
    """The venue's acknowledgement was seen. ``queue_ahead``: displayed size in front, in size units."""

    order: int
    queue_ahead: int


class Rejected(Fact, frozen=True, tag=True, omit_defaults=True):
    """The venue refused the order (``would_take``, ``no_liquidity``, ``fok_unfilled``, ``book_not_ready`` …).

    ``words``: how this venue says it, code and text, empty where its rules have no words for it (see venue_rules.py).
    """

    order: int
    reason: str
    words: str = ""


class CancelRequested(Fact, frozen=True, tag=True):
    """A cancel was sent; it can lose against a fill on the way."""

    order: int
    arrives_ns: int


class Cancelled(Fact, frozen=True, tag=True):
    """What was left of the order is gone; ``left`` in size units. ``reason``: ``user``, ``ioc`` …"""

    order: int
    left: int
    reason: str


class CancelRejected(Fact, frozen=True, tag=True, omit_defaults=True):
    """The cancel came too late, as the order had already ended; or, with a ``reason``, the venue did not take it."""

    order: int
    reason: str = ""
    words: str = ""


class Pending(Fact, frozen=True, tag=True):
    """The venue has the order and lets it in once ``parent`` is filled."""

    order: int
    parent: int


class Armed(Fact, frozen=True, tag=True):
    """The venue has the order and waits for its trigger. ``price``: where that stands now, price units."""

    order: int
    price: int


class Triggered(Fact, frozen=True, tag=True):
    """The market reached the trigger ``price``; ``seen`` is the price that did. The order enters the market."""

    order: int
    price: int
    seen: int


class AmendRequested(Fact, frozen=True, tag=True):
    """A change of price, whole size and trigger price was sent; it can cross a fill on the way. 0: not that one."""

    order: int
    price: int
    size: int
    trigger: int
    arrives_ns: int


class Amended(Fact, frozen=True, tag=True):
    """The order has other terms. ``queue_ahead``: displayed size in front now, -1 where it does not rest.

    ``cause``: ``user``; by the venue itself ``peg``, ``reduce_only``, ``self_trade`` or ``list``.
    """

    order: int
    price: int
    size: int
    queue_ahead: int
    cause: str


class AmendRejected(Fact, frozen=True, tag=True, omit_defaults=True):
    """The change was not made: ``too_late``, a rule of risk, or a word of the venue; the order stays as it is."""

    order: int
    reason: str
    words: str = ""


class Expired(Fact, frozen=True, tag=True):
    """The venue ended the order by its own rules: ``gtd``, ``day``, ``self_trade``, ``reduce_only``, ``list``."""

    order: int
    left: int
    reason: str


class Assumed(Fact, frozen=True, tag=True):
    """What a resting order is judged to have traded while the daemon was away, from ``since_ns`` to ``until_ns``.

    ``size`` was booked, as fills whose cause and grade are ``assumed``. The optimist (nobody in front) would have had
    ``optimistic``, the pessimist (only what went through the price) ``pessimistic``; sizes in units. ``basis``: from
    ``prints`` or from ``bars``. Of an order that waited for its trigger all was booked at ``price``, and the prices
    ``best`` and ``worst`` are what the optimist and the pessimist would have had; 0: it rested.
    """

    order: int
    strategy: str
    symbol: str
    side: int
    price: int
    size: int
    optimistic: int
    pessimistic: int
    basis: str
    since_ns: int
    until_ns: int
    best: int = 0
    worst: int = 0
