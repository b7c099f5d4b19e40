"""What the ledger, its money and its fees refuse, and the examples a person would work out on paper."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.core.account.ledger import Ledger, LedgerError
from engine.core.account.money import FeeTable, MoneyError, Worth, amount, ratio
from engine.core.types import ContractKind, Instrument

SPOT = Instrument(venue="v", symbol="S", base="BTC", quote="USDT", price_decimals=2, size_decimals=3)
INVERSE = Instrument(
    venue="v",
    symbol="I",
    base="BTC",
    quote="USD",
    price_decimals=1,
    size_decimals=0,
    kind=ContractKind.INVERSE,
    contract_size=Decimal(100),
)
FREE = Decimal(0)


@pytest.mark.parametrize(("side", "price", "size"), [(0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 1, 0), (-1, -1, 1)])
def test_fill_when_it_is_none_then_error(side: int, price: int, size: int) -> None:
    ledger = Ledger((SPOT,), {})
    with pytest.raises(LedgerError, match="expected side 1 or -1"):
        ledger.fill("s", 0, side, price, size, FREE)
    assert list(ledger.entries()) == []


def test_restore_when_another_run_wrote_it_then_error() -> None:
    ledger = Ledger((INVERSE,), {})
    ledger.fill("s", 0, 1, 10, 1, FREE)
    with pytest.raises(LedgerError, match="found also v:I"):
        Ledger((SPOT,), {}).restore(ledger.snapshot())


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1E-31"])
def test_amount_when_it_cannot_be_exact_then_error(text: str) -> None:
    with pytest.raises(MoneyError, match="expected"):
        amount(Decimal(text))


def test_ratio_when_zero() -> None:
    assert ratio(Decimal(0)) == (0, 1)


@pytest.mark.parametrize(
    ("decimals", "contract"), [((20, 12), "1"), ((15, 15), "1"), ((0, 31), "1"), ((2, 2), "0"), ((2, 2), "-1")]
)
def test_worth_when_units_are_too_fine_or_worthless_then_error(decimals: tuple[int, int], contract: str) -> None:
    instrument = Instrument(
        venue="v",
        symbol="X",
        base="B",
        quote="Q",
        price_decimals=decimals[0],
        size_decimals=decimals[1],
        contract_size=Decimal(contract),
    )
    with pytest.raises(MoneyError, match="v:X: expected"):
        Worth(instrument)


def test_fee_when_the_table_is_full_then_still_exact() -> None:
    table = FeeTable(limit=1)
    assert [table.fee(1000, Decimal(rate)) for rate in ("0.001", "0.002", "0.002")] == [1, 2, 2]


def test_inverse_when_the_price_falls_then_a_short_wins_in_the_base() -> None:
    ledger = Ledger((INVERSE,), {"BTC": Decimal(1)})
    ledger.fill("s", 0, -1, 500_000, 100, Decimal("0.0005"))
    ledger.mark(0, 2 * 400_000)
    assert ledger.unrealised() == {"BTC": Decimal("0.05")}
    ledger.fill("s", 0, 1, 400_000, 100, Decimal("-0.0001"))
    assert ledger.realised("s") == {"BTC": Decimal("0.05")}
    assert ledger.fees() == {"BTC": Decimal("0.000075")}
    assert ledger.cash() == {"BTC": Decimal("1.049925")} == ledger.equity()


def test_position_when_it_flips_then_the_rest_opens_at_the_new_price() -> None:
    ledger = Ledger((SPOT,), {"USDT": Decimal(1000)})
    ledger.fill("s", 0, 1, 10_000, 1000, FREE)
    ledger.fill("s", 0, -1, 11_000, 3000, FREE)
    ledger.mark(0, 2 * 10_500)
    assert ledger.position(0) == ledger.position(0, "s") == -2000
    assert ledger.position(0, "nobody") == 0
    assert (ledger.realised(), ledger.unrealised()) == ({"USDT": Decimal(10)}, {"USDT": Decimal(10)})
    assert ledger.cash() == {"USDT": Decimal(1230), "BTC": Decimal(-2)}


def test_unrealised_when_never_marked_then_nothing_is_won_or_lost() -> None:
    ledger = Ledger((SPOT,), {})
    ledger.fill("s", 0, 1, 10_000, 1000, FREE)
    assert ledger.profit() == {"USDT": Decimal(0)}
    assert ledger.mark2(0) == 0 == ledger.balance_of("EUR")
