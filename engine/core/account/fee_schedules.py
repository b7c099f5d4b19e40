"""What real venues charge, tier by tier: a table of facts, each with its source and how far it could be checked.

Rates are percent of a fill's value in the table, as venues print them; a negative maker rate is a rebate. Venues change
their schedules: ``read`` says where the figures come from and ``checked`` how: ``venue`` (the venue's own page, as
archived), ``second hand`` (another site or library that copies it). A figure that could not be found is not in the
table. Requirements besides volume (token holdings, assets) are not modelled: name the tier instead of ``auto``.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec


class FeeTier(msgspec.Struct, frozen=True):
    """Rates from a rolling volume on: ``volume`` in US dollars, ``maker`` and ``taker`` as fractions of the value.

    ``volume`` is None where the tier depends on something else, or its volume was not found: only its name gives it.
    """

    name: str
    volume: Decimal | None
    maker: Decimal
    taker: Decimal


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's fees for one kind of market, lowest tier first.

    ``window_days``: over how many days volume counts. ``daily``: the tier changes once a UTC day, else with each fill.
    ``pay_in``: ``settle`` (the currency of profit) or ``received`` (spot: what the fill brings, base for a buy).
    ``token`` pays with ``token_discount`` off, where the account holds enough of it.
    """

    name: str
    url: str
    read: str
    checked: str
    tiers: tuple[FeeTier, ...]
    window_days: int = 30
    daily: bool = True
    pay_in: str = "settle"
    token: str = ""
    token_discount: Decimal = Decimal(0)

    def tier(self, name: str) -> FeeTier:
        """The tier of that name.

        Raises:
            UnknownTier: the schedule has none of that name.

        >>> SCHEDULES["deribit-weekly"].tier("All").maker
        Decimal('-0.0001')
        """
        for one in self.tiers:
            if one.name == name:
                return one
        raise UnknownTier(
            f"expected a tier of {self.name} among {', '.join(one.name for one in self.tiers)}, found {name!r}"
        )

    def at(self, volume: Decimal) -> FeeTier:
        """The tier that a rolling volume in US dollars reaches.

        >>> SCHEDULES["kraken-spot"].at(Decimal(99_999)).name, SCHEDULES["kraken-spot"].at(Decimal(100_000)).name
        ('50K', '100K')
        """
        reached = self.tiers[0]
        for one in self.tiers:
            if one.volume is not None and one.volume <= volume:
                reached = one
        return reached


class UnknownTier(LookupError):
    """A schedule or tier that the table does not have."""


def schedule(name: str) -> FeeSchedule:
    """The schedule of that name.

    Raises:
        UnknownTier: the table has none of that name.
    """
    found = SCHEDULES.get(name)
    if found is None:
        raise UnknownTier(f"expected one of {', '.join(SCHEDULES)}, found {name!r}")
    return found


def _tiers(text: str) -> tuple[FeeTier, ...]:
    """Rows of ``name | volume or - | maker % | taker %``; K, M and B stand for thousands, millions and billions."""
    tiers = []
    for line in text.strip().splitlines():
        name, volume, maker, taker = (part.strip() for part in line.split("|"))
        tiers.append(FeeTier(name, _volume(volume), Decimal(maker).scaleb(-2), Decimal(taker).scaleb(-2)))
    return tuple(tiers)


def _volume(text: str) -> Decimal | None:
    if text == "-":
        return None
    scale = {"K": 3, "M": 6, "B": 9}.get(text[-1], 0)
    return Decimal(text.rstrip("KMB")) * int(10**scale)


_TABLE = (
    FeeSchedule(
        name="binance-spot",
        url="https://www.binance.com/en/fee/schedule",
        read="rates: two guides to VIP levels, undated (2025 or later); volumes to VIP 3 also Binance's "
        "announcement of 2021-12-21; the discount its announcement of 2018-07-20",
        checked="second hand",
        pay_in="received",
        token="BNB",
        token_discount=Decimal("0.25"),
        tiers=_tiers("""
            Regular | 0    | 0.1000 | 0.1000
            VIP 1   | 1M   | 0.0900 | 0.1000
            VIP 2   | 5M   | 0.0800 | 0.1000
            VIP 3   | 20M  | 0.0420 | 0.0600
            VIP 4   | 50M  | 0.0420 | 0.0540
            VIP 5   | 100M | 0.0360 | 0.0480
            VIP 6   | 250M | 0.0300 | 0.0420
            VIP 7   | 500M | 0.0240 | 0.0360
            VIP 8   | 1B   | 0.0180 | 0.0300
            VIP 9   | 2.5B | 0.0120 | 0.0240
        """),
    ),
    FeeSchedule(
        name="binance-usdm",
        url="https://www.binance.com/en/fee/futureFee",
        read="rates: guides to VIP levels and ccxt 4.5.90 of 2026-10-23; the volume of VIP 1 Binance's announcement of "
        "2021-12-21, those above were not found; the 10 % for BNB its FAQ 360033544231",
        checked="second hand",
        token="BNB",
        token_discount=Decimal("0.10"),
        tiers=_tiers("""
            Regular | 0     | 0.0200 | 0.0500
            VIP 1   | 15M   | 0.0160 | 0.0400
            VIP 2   | -     | 0.0140 | 0.0350
            VIP 3   | -     | 0.0120 | 0.0320
            VIP 4   | -     | 0.0100 | 0.0300
            VIP 5   | -     | 0.0080 | 0.0270
            VIP 6   | -     | 0.0060 | 0.0250
            VIP 7   | -     | 0.0040 | 0.0220
            VIP 8   | -     | 0.0020 | 0.0200
            VIP 9   | -     | 0.0000 | 0.0170
        """),
    ),
    FeeSchedule(
        name="binance-coinm",
        url="https://www.binance.com/en/fee/deliveryFee",
        read="a guide to VIP levels, undated, and ccxt 4.5.90 for the regular rate; tiers above VIP 2 differ between "
        "sources and are left out",
        checked="second hand",
        tiers=_tiers("""
            Regular | 0   | 0.0100 | 0.0500
            VIP 1   | 15M | 0.0080 | 0.0400
            VIP 2   | -   | 0.0070 | 0.0350
        """),
    ),
    FeeSchedule(
        name="bybit-spot",
        url="https://www.bybit.com/en/help-center/article/Trading-Fee-Structure",
        read="rates: Bybit's help article 000001634 as archived (2025); of the volumes only those of VIP 1 and VIP 3 "
        "were found",
        checked="venue",
        pay_in="received",
        tiers=_tiers("""
            VIP 0 | 0   | 0.1000 | 0.1000
            VIP 1 | 1M  | 0.0675 | 0.0800
            VIP 2 | -   | 0.0650 | 0.0775
            VIP 3 | 10M | 0.0625 | 0.0750
            VIP 4 | -   | 0.0500 | 0.0600
            VIP 5 | -   | 0.0400 | 0.0500
            Supreme VIP | - | 0.0300 | 0.0450
        """),
    ),
    FeeSchedule(
        name="bybit-derivatives",
        url="https://www.bybit.com/en/help-center/article/Trading-Fee-Structure",
        read="rates: Bybit's help article 000001634 as archived (2025); its volumes were not found",
        checked="venue",
        tiers=_tiers("""
            VIP 0       | 0 | 0.0200 | 0.0550
            VIP 1       | - | 0.0180 | 0.0400
            VIP 2       | - | 0.0160 | 0.0375
            VIP 3       | - | 0.0140 | 0.0350
            VIP 4       | - | 0.0120 | 0.0320
            VIP 5       | - | 0.0100 | 0.0320
            Supreme VIP | - | 0.0000 | 0.0300
        """),
    ),
    FeeSchedule(
        name="okx-spot",
        url="https://www.okx.com/fees",
        read="the venue's page as archived, undated (2023 by its tiers); Lv2 to Lv5 depend on OKB held, so name them",
        checked="venue",
        pay_in="received",
        tiers=_tiers("""
            Lv1   | 0       | 0.080  | 0.100
            VIP 1 | 10M     | 0.060  | 0.080
            VIP 2 | 20M     | 0.050  | 0.070
            VIP 3 | 50M     | 0.030  | 0.060
            VIP 4 | 100M    | 0.020  | 0.050
            VIP 5 | 200M    | 0.000  | 0.040
            VIP 6 | 500M    | -0.002 | 0.030
            VIP 7 | 1B      | -0.005 | 0.025
            VIP 8 | 10B     | -0.005 | 0.020
            Lv2   | - | 0.075  | 0.095
            Lv3   | - | 0.070  | 0.090
            Lv4   | - | 0.065  | 0.085
            Lv5   | - | 0.060  | 0.080
        """),
    ),
    FeeSchedule(
        name="okx-swap",
        url="https://www.okx.com/fees",
        read="ccxt 4.5.90 of 2026-10-23: the regular rate; the tiers were not found",
        checked="second hand",
        tiers=_tiers("Lv1 | 0 | 0.020 | 0.050"),
    ),
    FeeSchedule(
        name="coinbase-advanced",
        url="https://help.coinbase.com/en/coinbase/trading-and-funding/advanced-trade/advanced-trade-fees",
        read="ccxt 4.5.90 of 2026-10-23; its comment shows 0.6 % and 1.2 % below 1K of volume, which are newer",
        checked="second hand",
        daily=False,
        tiers=_tiers("""
            0    | 0    | 0.40 | 0.60
            10K  | 10K  | 0.25 | 0.40
            50K  | 50K  | 0.15 | 0.25
            100K | 100K | 0.10 | 0.20
            1M   | 1M   | 0.08 | 0.18
            15M  | 15M  | 0.06 | 0.16
            75M  | 75M  | 0.03 | 0.12
            250M | 250M | 0.00 | 0.08
            400M | 400M | 0.00 | 0.05
        """),
    ),
    FeeSchedule(
        name="kraken-spot",
        url="https://www.kraken.com/features/fee-schedule",
        read="ccxt 4.5.90 of 2026-10-23 (its 0.01 % of the last taker tier is a slip for 0.10 %, as guides have it); "
        "the schedule of 2024 and later starts higher and was not found",
        checked="second hand",
        daily=False,
        tiers=_tiers("""
            0    | 0    | 0.16 | 0.26
            50K  | 50K  | 0.14 | 0.24
            100K | 100K | 0.12 | 0.22
            250K | 250K | 0.10 | 0.20
            500K | 500K | 0.08 | 0.18
            1M   | 1M   | 0.06 | 0.16
            2.5M | 2.5M | 0.04 | 0.14
            5M   | 5M   | 0.02 | 0.12
            10M  | 10M  | 0.00 | 0.10
        """),
    ),
    FeeSchedule(
        name="bitstamp",
        url="https://www.bitstamp.net/fee-schedule/",
        read="ccxt 4.5.90 of 2026-10-23 (its maker rate of 0.2 % from 20M is a slip for 0.02 %)",
        checked="second hand",
        daily=False,
        tiers=_tiers("""
            0    | 0    | 0.30 | 0.40
            10K  | 10K  | 0.20 | 0.30
            100K | 100K | 0.10 | 0.20
            500K | 500K | 0.08 | 0.18
            1.5M | 1.5M | 0.06 | 0.16
            5M   | 5M   | 0.03 | 0.12
            20M  | 20M  | 0.02 | 0.10
            50M  | 50M  | 0.01 | 0.08
            100M | 100M | 0.00 | 0.06
            250M | 250M | 0.00 | 0.05
            1B   | 1B   | 0.00 | 0.03
        """),
    ),
    FeeSchedule(
        name="deribit-perpetual",
        url="https://support.deribit.com/hc/en-us/articles/25944746248989-Fees",
        read="the venue's page as archived, undated (2025); no tiers by volume",
        checked="venue",
        tiers=_tiers("All | 0 | 0.00 | 0.05"),
    ),
    FeeSchedule(
        name="deribit-weekly",
        url="https://support.deribit.com/hc/en-us/articles/25944746248989-Fees",
        read="the venue's page as archived, undated (2025); weekly futures pay makers a rebate",
        checked="venue",
        tiers=_tiers("All | 0 | -0.01 | 0.05"),
    ),
    FeeSchedule(
        name="gemini-activetrader",
        url="https://gemini.com/fees/activetrader-fee-schedule",
        read="the venue's page, last modified 2020-09-23; rows above 50M were cut off",
        checked="venue",
        tiers=_tiers("""
            0    | 0    | 0.25 | 0.35
            500K | 500K | 0.15 | 0.25
            5M   | 5M   | 0.10 | 0.15
            15M  | 15M  | 0.00 | 0.10
            50M  | 50M  | 0.00 | 0.075
        """),
    ),
    FeeSchedule(
        name="gemini-perpetual",
        url="https://www.gemini.com/fees/derivative-fees-table",
        read="the venue's page as archived, undated; a liquidation pays 0.5 % and nothing else",
        checked="venue",
        tiers=_tiers("""
            0    | 0    | 0.02  | 0.07
            10K  | 10K  | 0.02  | 0.06
            50K  | 50K  | 0.02  | 0.05
            5M   | 5M   | 0.01  | 0.04
            10M  | 10M  | 0.00  | 0.04
            50M  | 50M  | -0.01 | 0.04
            100M | 100M | -0.01 | 0.03
        """),
    ),
    FeeSchedule(
        name="hyperliquid-perps",
        url="https://hyperliquid.gitbook.io/hyperliquid-docs/trading/fees",
        read="three copies of the venue's table that agree (2025 and later); staking discounts and maker rebates by "
        "share of volume are not modelled",
        checked="second hand",
        window_days=14,
        tiers=_tiers("""
            0 | 0    | 0.0150 | 0.0450
            1 | 5M   | 0.0120 | 0.0400
            2 | 25M  | 0.0080 | 0.0350
            3 | 100M | 0.0040 | 0.0300
            4 | 500M | 0.0000 | 0.0280
            5 | 2B   | 0.0000 | 0.0260
            6 | 7B   | 0.0000 | 0.0240
        """),
    ),
    FeeSchedule(
        name="hyperliquid-spot",
        url="https://hyperliquid.gitbook.io/hyperliquid-docs/trading/fees",
        read="a copy of the venue's table (2025 and later)",
        checked="second hand",
        window_days=14,
        pay_in="received",
        tiers=_tiers("""
            0 | 0    | 0.0400 | 0.0700
            1 | 5M   | 0.0300 | 0.0600
            2 | 25M  | 0.0200 | 0.0500
            3 | 100M | 0.0100 | 0.0400
            4 | 500M | 0.0000 | 0.0350
            5 | 2B   | 0.0000 | 0.0300
            6 | 7B   | 0.0000 | 0.0250
        """),
    ),
)

SCHEDULES: dict[str, FeeSchedule] = {one.name: one for one in _TABLE}
"""Every schedule by the name that a config gives."""
