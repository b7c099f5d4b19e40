"""The rules that every venue keeps, each as a card that passes or says what it found.

``papertape conform NAME`` runs them on any venue; our own tests run them on every registered one. A venue shows a
conversation in ``samples/<spec.name>.jsonl`` beside its module (or as the class attribute ``samples``, the same text):
hand-written frames that lead one symbol to a ready book and on, a JSON object a line::

    {"is":"instruments","data":{…}}                    the venue's listing, first
    {"is":"frame","data":{…},"rows":[…]}               a frame, and the rows it gives, if the line says so
    {"is":"reply","token":"depth:X","data":{…}}        the answer to a Fetch
    {"is":"book","data":{"bids":[…],"asks":[…]}}       the whole book after all that
    {"is":"unknown","data":{…}}                        a frame of a channel that nobody asked for
    {"is":"refusal","token":"depth:X","data":{…}}      how the venue refuses a symbol (without token: a frame)

A row is ``[kind, flags, price, size, venue_ns, id]``, price and size as exact decimal text.
"""

from __future__ import annotations

import ast
import inspect
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from adapters import conformance_mutants as mutants
from adapters.conformance_player import KINDS, START_NS, Player, Subject
from adapters.contract import AdapterError, Fetch, MalformedFrame, Send, SubscriptionRefused, Venue
from engine.core.conformance import CardFailed, CardResult, run_cards
from engine.core.events import GAP, LEVEL, MARK, UP, Batch
from engine.core.types import Instrument

FORBIDDEN = {
    "aiohttp", "asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "requests", "socket", "ssl",
    "structlog", "subprocess", "threading", "time", "urllib.request", "websockets",
}  # fmt: skip


def _imports_nothing_of_the_edge(subject: Subject) -> None:
    names = {subject.cls.__module__}
    names |= {base.__module__ for base in subject.cls.__mro__ if issubclass(base, Venue) and base is not Venue}
    for name in names:
        module = inspect.getmodule(subject.cls) if name == subject.cls.__module__ else None
        tree = ast.parse(inspect.getsource(module or __import__(name, fromlist=["_"])))
        for node in ast.walk(tree):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for each in found:
                if each in FORBIDDEN or each.partition(".")[0] in FORBIDDEN:
                    raise CardFailed(
                        f"expected no import of the edge, found {each} in {name}: the connection owns that"
                    )


def _opens_with_its_symbols(subject: Subject) -> None:
    url = subject.cls.websocket_url("ws://host:1", subject.symbols)
    if not url.startswith("ws://host:1"):
        raise CardFailed(f"expected an address below the given base, found {url}")
    player = Player(subject)
    player.now_ns = START_NS
    outputs = subject.cls(subject.instruments).opened(START_NS)
    ups = {row[2] for row in player.take(outputs) if row[0] == UP}
    if ups != set(range(len(subject.symbols))):
        raise CardFailed(f"expected an UP row for each of {len(subject.symbols)} symbols, found {sorted(ups)}")
    said = (url + "".join(out.frame.decode() for out in outputs if isinstance(out, Send))).lower()
    missing = [symbol for symbol in subject.symbols if symbol.lower() not in said]
    if missing:
        raise CardFailed(f"expected every symbol in the address or a subscription, missing {missing}")


def _gives_the_golden_rows(subject: Subject) -> None:
    given = Player(subject).play(subject.talk)
    if not any(line.rows for line in subject.talk):
        raise CardFailed("expected rows beside the sample frames, found none: say what each must give")
    for number, (line, rows) in enumerate(zip(subject.talk, given, strict=True), 1):
        if line.rows is None:
            continue
        found = [
            (KINDS[kind], flags, _plain(price, each.price_decimals), _plain(size, each.size_decimals), venue_ns, id_)
            for kind, flags, symbol, _, price, size, venue_ns, _, id_ in rows
            for each in [subject.by_index[symbol]]
        ]
        expected = [(k, f, Decimal(price), Decimal(size), ns, id_) for k, f, price, size, ns, id_ in line.rows]
        if found != expected:
            raise CardFailed(f"sample {number}: expected {expected}, found {found}")


def _plain(value: int, decimals: int) -> Decimal:
    return Decimal(value).scaleb(-decimals)


def _shares_no_state(subject: Subject) -> None:
    alone = Player(subject).play(subject.talk)
    first, second = Player(subject), Player(subject)
    both = [(first.play([line])[0], second.play([line])[0]) for line in subject.talk]
    if any(one != rows or two != rows for rows, (one, two) in zip(alone, both, strict=True)):
        raise CardFailed("expected equal rows from equal frames in every instance, found others: keep state in self")


def _owns_its_batches(subject: Subject) -> None:
    venue = subject.open()
    kept: list[tuple[Batch, bytes]] = []
    for number, line in enumerate(subject.talk):
        now_ns = START_NS + number
        done = (
            venue.replied(line.token, line.body, now_ns) if line.kind == "reply" else venue.received(line.body, now_ns)
        )
        kept.extend((batch, batch.tobytes()) for batch in done if isinstance(batch, np.ndarray))
    if any(batch.tobytes() != before for batch, before in kept):
        raise CardFailed("expected batches that stay as they were given, found one written again")


def _makes_the_book(subject: Subject) -> None:
    player = Player(subject)
    player.play(subject.talk)
    said = msgspec.json.decode(subject.only("book").body, type=dict[str, list[tuple[str, str]]])
    symbol = next(iter(player.ready), None)
    if symbol is None or symbol < 0:
        raise CardFailed("expected a ready book after the sample conversation, found none")
    each: Instrument = subject.by_index[symbol]
    for side, name in enumerate(("bids", "asks")):
        expected = {each.price_units(price): each.size_units(size) for price, size in said[name]}
        if player.books[symbol][side] != expected:
            raise CardFailed(f"expected {name} {expected}, found {player.books[symbol][side]}")


def _notices_a_missing_frame(subject: Subject) -> None:
    for missing in _followed_frames(subject):
        player = Player(subject)
        player.play(subject.talk[:missing])
        rows = [row for each in player.play(subject.talk[missing + 1 :]) for row in each]
        if not any(row[0] == GAP for row in rows):
            raise CardFailed(f"expected a GAP when sample {missing + 1} is missing, found none")


def _followed_frames(subject: Subject) -> Iterator[int]:
    """Book frames after READY that another one follows."""
    given = Player(subject).play(subject.talk)
    books = [number for number, rows in enumerate(given) if rows and rows[0][0] in (LEVEL, MARK)]
    if len(books) < 2:
        raise CardFailed("expected two book frames after READY in the sample conversation, found fewer")
    yield from books[:-1]


def _survives_repeats_and_disorder(subject: Subject) -> None:
    for number in _followed_frames(subject):
        player = Player(subject)
        player.play(subject.talk[: number + 1])
        before = (player.books, set(player.ready))
        again = player.play([subject.talk[number]])[0]
        if any(row[0] == LEVEL for row in again) and (player.books, player.ready) != before:
            raise CardFailed(f"expected no change or a GAP when sample {number + 1} comes twice, found another book")
        player = Player(subject)
        swapped = [*subject.talk[:number], *reversed(subject.talk[number:])]
        player.play(swapped)  # the player holds every row against the rules


def _refuses_broken_bytes(subject: Subject) -> None:
    _mutate(subject, lambda body: mutants.bytes_of(body, random.Random(7)))


def _refuses_broken_leaves(subject: Subject) -> None:
    _mutate(subject, mutants.leaves_of)
    for body in mutants.leaves_of(subject.only("instruments").body):
        try:
            found = subject.cls.parse_instruments("venue", body)
        except MalformedFrame:
            continue
        for each in found.values():
            if min(each.tick, each.lot) < 1 or min(each.price_decimals, each.size_decimals, each.min_size) < 0:
                raise CardFailed(f"expected a tick and lot of at least 1, found {each} in {body[:120]!r}…")


def _mutate(subject: Subject, of: Callable[[bytes], Iterator[bytes]]) -> None:
    for number, line in enumerate(subject.talk):
        for body in of(line.body):
            player = Player(subject, is_true=False)
            player.play(subject.talk[:number])
            try:
                player.step(line.kind == "reply", line.token, body)
                player.play(subject.talk[number + 1 :])
            except CardFailed as failure:
                raise CardFailed(f"sample {number + 1} as {body[:300]!r}: {failure}") from failure
            except Exception as error:
                # Users' code runs in there: an AdapterError is what a venue may raise and the player takes it; whatever
                # else it raises is the finding.
                raise CardFailed(f"sample {number + 1} as {body[:300]!r}: {type(error).__name__}: {error}") from error


def _tolerates_the_unknown(subject: Subject) -> None:
    player = Player(subject)
    rows = player.step(False, "", subject.only("unknown").body)
    if rows or player.errors or player.venue.unknown != 1:
        raise CardFailed(f"expected an unknown frame to be counted, found {rows}, {player.venue.unknown} counted")
    for line in subject.talk:
        fields: dict[str, Any] = msgspec.json.decode(line.data)
        body = msgspec.json.encode({**fields, "papertape_extra": {"x": [1]}})
        if player.step(line.kind == "reply", line.token, body) is None or player.errors:
            raise CardFailed(f"expected an extra field to be tolerated, found an error for {body[:200]!r}")


def _says_what_was_refused(subject: Subject) -> None:
    line = subject.only("refusal")
    venue = subject.open()
    try:
        venue.replied(line.token, line.body, START_NS) if line.token else venue.received(line.body, START_NS)
    except SubscriptionRefused as error:
        if not any(symbol in str(error) for symbol in subject.symbols):
            raise CardFailed(f"expected the refused symbol in the text, found {error}") from error
        return
    raise CardFailed("expected SubscriptionRefused for the refusal, found none")


def _keeps_time(subject: Subject) -> None:
    player = Player(subject)
    asked = 0
    for line in [None, *subject.talk]:
        if line is not None:
            player.play([line])
        for _ in range(100):
            player.now_ns += 1_000_000_000
            outputs = player.venue.ticked(player.now_ns)
            player.take(outputs)
            asked += len([output for output in outputs if isinstance(output, Fetch)])
    if asked > 50 * len(subject.talk):
        raise CardFailed(f"expected paced retries over {100 * len(subject.talk)} s, found {asked} requests")


def _maps_symbols_both_ways(subject: Subject) -> None:
    if [each.symbol for each in subject.listed.values()] != subject.symbols:
        raise CardFailed("expected each instrument under its own symbol, found others")
    if len({each.name for each in subject.listed.values()}) != len(subject.symbols):
        raise CardFailed("expected one name a symbol, found one twice")
    for number in range(len(subject.symbols)):
        venue = subject.open()
        for line in subject.talk:
            venue.replied(line.token, line.body, START_NS) if line.kind == "reply" else venue.received(
                line.body, START_NS
            )
        for fetch in venue.doubted(number, START_NS):
            if isinstance(fetch, Fetch) and subject.cls.token_of(fetch.url) != fetch.token:
                raise CardFailed(f"expected token_of({fetch.url!r}) to be {fetch.token!r}, found another")


def _is_documented(subject: Subject) -> None:
    spec = subject.cls.spec
    module = inspect.getmodule(subject.cls)
    words = (module.__doc__ if module else "") or ""
    if not spec.docs_url.startswith("https://") or "https://" not in words:
        raise CardFailed("expected the official documentation's address in spec.docs_url and in the module's docstring")
    if "{" not in words or "1." not in words:
        raise CardFailed("expected a sample frame a channel and the book procedure in steps in the module's docstring")
    if not (subject.cls.__dict__.get("__doc__") or "").strip():
        raise CardFailed(f"expected a docstring on {subject.cls.__name__}, found none")


CARDS: tuple[tuple[str, str, Callable[[Subject], None]], ...] = (
    ("V10", "imports no network, clock, chance or log", _imports_nothing_of_the_edge),
    ("V20", "opens with every symbol asked for", _opens_with_its_symbols),
    ("V30", "gives the golden rows, field by field", _gives_the_golden_rows),
    ("V40", "shares no state between instances", _shares_no_state),
    ("V50", "gives batches that belong to the receiver", _owns_its_batches),
    ("V70", "makes the book that the venue shows", _makes_the_book),
    ("V80", "notices a missing frame", _notices_a_missing_frame),
    ("V90", "survives repeated and reordered frames", _survives_repeats_and_disorder),
    ("V100", "refuses cut, flipped and random bytes", _refuses_broken_bytes),
    ("V110", "refuses any wrong or missing leaf", _refuses_broken_leaves),
    ("V120", "tolerates and counts what it does not know", _tolerates_the_unknown),
    ("V130", "says which symbol was refused", _says_what_was_refused),
    ("V140", "keeps its timeouts under a moved clock", _keeps_time),
    ("V150", "maps symbols and addresses both ways", _maps_symbols_both_ways),
    ("V160", "is documented", _is_documented),
)
"""Every card by number; the numbers leave room between."""


def check_venue(cls: type[Venue]) -> list[CardResult]:
    """Run every card on a venue class."""
    try:
        subject = Subject(cls)
    except (CardFailed, AdapterError, msgspec.DecodeError, OSError) as error:
        return [CardResult("V00", "shows a sample conversation", False, str(error))]
    return run_cards(subject, CARDS)
