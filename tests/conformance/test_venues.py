"""Every registered venue against every card, and the cards against venues that break them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from adapters.binance import BinanceSpot
from adapters.conformance import CARDS, check_venue
from adapters.conformance_player import Subject
from adapters.contract import Output, Venue
from adapters.registry import sniff, venue_class, venue_names
from engine.core.events import LEVEL, row
from engine.core.types import Instrument
from tests.data import ROOT

SAMPLES = Subject._file(BinanceSpot)


@pytest.mark.parametrize("name", venue_names())
def test_registered_venue_when_checked_then_every_card_passes(name: str) -> None:
    results = check_venue(venue_class(name))
    assert [result.card for result in results] == [card for card, _, _ in CARDS]
    assert [result.line() for result in results if not result.passed] == []


@pytest.mark.parametrize("name", venue_names())
def test_registered_venue_when_its_frames_are_sniffed_then_it_is_found(name: str) -> None:
    subject = Subject(venue_class(name))
    assert sniff(line.body for line in subject.talk if line.kind == "frame") == name


@pytest.mark.parametrize("name", venue_names())
def test_registered_venue_when_instruments_are_inferred_then_the_frames_fit(name: str) -> None:
    subject = Subject(venue_class(name))
    found = subject.cls.infer_instruments("v", [line.body for line in subject.talk])
    instruments = {symbol: (0, instrument) for symbol, instrument in found.items()}
    venue = subject.cls(instruments)
    rows = [
        output
        for line in subject.talk
        for output in (venue.replied(line.token, line.body, 5) if line.token else venue.received(line.body, 5))
    ]
    assert len(rows) >= 8
    assert all(each.source == "wire" and each.kind == subject.listed[each.symbol].kind for each in found.values())


class Lenient(BinanceSpot):
    "Lets a KeyError through where a field is missing."

    samples = SAMPLES

    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        msgspec.json.decode(frame)["data"]["s"]
        return super().received(frame, recv_ns)


class Timeless(BinanceSpot):
    "Invents a receive time."

    samples = SAMPLES

    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        return super().received(frame, recv_ns + 1)


class Gapless(BinanceSpot):
    "Overlooks what is missing."

    samples = SAMPLES

    def _restart(self, *_: object) -> Sequence[Output]:
        return ()


class Hasty(BinanceSpot):
    "Gives levels before there is a book."

    samples = SAMPLES

    def opened(self, now_ns: int) -> Sequence[Output]:
        return [*super().opened(now_ns), row(LEVEL, symbol=0, recv_ns=now_ns, price=1, size=1)]


class Shared(BinanceSpot):
    "Keeps its state where every instance sees it."

    samples = SAMPLES
    seen = [0]  # noqa: RUF012 - that is what is wrong with it

    def received(self, frame: bytes, recv_ns: int) -> Sequence[Output]:
        self.seen[0] += 1
        return super().received(frame, recv_ns) if self.seen[0] % 7 else ()


@pytest.mark.parametrize(
    ("cls", "broken"),
    [
        (Lenient, {"V100", "V110"}),
        (Timeless, {"V30", "V40", "V80"}),
        (Gapless, {"V80"}),
        (Hasty, {"V20"}),
        (Shared, {"V40"}),
    ],
)
def test_card_when_a_venue_breaks_it_then_it_fails_with_words(cls: type[Venue], broken: set[str]) -> None:
    results = check_venue(cls)
    failed = {result.card: result.detail for result in results if not result.passed}
    assert broken <= set(failed)
    assert all(len(failed[card]) > 20 for card in broken)


def test_a_venue_when_it_shows_no_conversation_then_the_one_card_says_where_to_put_it() -> None:
    class Silent(BinanceSpot):
        "Shows nothing."

        spec = msgspec.structs.replace(BinanceSpot.spec, name="silent")

    (result,) = check_venue(Silent)
    assert not result.passed and "samples/silent.jsonl" in result.detail


def test_instruments_when_listed_then_units_hold_what_rests_on_former_grids() -> None:
    spot = Subject(BinanceSpot).listed["BTCUSDT"]
    assert (spot.price_decimals, spot.size_decimals, spot.tick, spot.lot) == (5, 8, 1000, 1000)
    inverse: Instrument = Subject(venue_class("binance-coinm")).listed["BTCUSD_PERP"]
    assert (inverse.size_decimals, inverse.contract_size, inverse.settle) == (0, Decimal(100), "BTC")


def test_the_readme_when_read_then_it_lists_every_venue_and_every_card() -> None:
    text = (ROOT / "adapters" / "README.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in venue_names())
    assert [f"| {card} | {rule} |" for card, rule, _ in CARDS if f"| {card} | {rule} |" not in text] == []
