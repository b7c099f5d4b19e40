"""The words of the lexicon: written for headlines about markets, not learned from any."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_GOOD = """
adopt adopted adopts adoption advance advances approval approve approved approves beat beats boom booming boost
boosted boosts breakthrough bull bullish buy buying climb climbed climbs confidence confident demand exceed exceeds
expand expands gain gained gains good grow growing grows growth improve improved improves increase increased inflow
inflows integrate integrates jump jumped jumps launch launches lift lifted lifts optimism optimistic outperform
outperforms partner partners partnership positive profit profitable profits progress rally rallied rallies rebound
rebounds record recover recovered recovers recovery rise rises rising rose secure secured soar soared soaring soars
solid stable strength strengthen strong stronger succeed success successful support supports surge surged surges
upgrade upgraded upgrades upside win winning wins
"""

_BAD = """
abandon abandoned attack attacked attacks ban banned bans bankrupt bankruptcy bear bearish breach breached collapse
collapsed collapses concern concerns correction crash crashed crashes crisis cut cuts decline declined declines
default defaults delay delayed delays delist delisted deny denied downgrade downgraded downside drop dropped drops
exploit exploited fail failed fails failure fall fallen falling falls fear fears fell fine fined fraud freeze frozen
hack hacked hacker halt halted halts illegal insolvency insolvent investigate investigation lawsuit liquidate
liquidated liquidation liquidations lose loses losing loss losses lost manipulation miss missed negative outage
outflow outflows panic penalty plunge plunged plunges probe recession reject rejected rejects risk risks risky scam
sell selling selloff shutdown sink sinks slump slumped slumps steal stolen sue sued sues suspend suspended suspends
theft threat tumble tumbled tumbles unstable volatile vulnerability warn warned warning warns weak weaken weaker
weakness withdraw worry worries worse worst
"""

_NEGATIONS = """
no not never without cannot can't don't doesn't didn't isn't wasn't won't avoid avoids
"""

GOOD: Final = frozenset(_GOOD.split())
BAD: Final = frozenset(_BAD.split())
NEGATIONS: Final = frozenset(_NEGATIONS.split())
STRENGTHS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "very": 1.5,
        "sharply": 1.5,
        "massive": 1.5,
        "huge": 1.5,
        "extremely": 2.0,
        "slightly": 0.5,
        "somewhat": 0.5,
        "modest": 0.5,
    }
)
"""How much more, or less, the next word counts."""
