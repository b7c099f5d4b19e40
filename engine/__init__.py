"""Papertape: live paper trading that tells the truth.

What a strategy author needs is here, on one flat namespace; everything else is imported from where it lives.

>>> from engine import Strategy, Config
>>> Strategy.__name__
'Strategy'
"""

from importlib.metadata import version

from engine.core.book import Book
from engine.core.desk.order_terms import Peg, PegTo, SelfTrade, TrailBy, Trigger, TriggerBy, stop, take_profit, trailing
from engine.core.records import Fill, Signal
from engine.core.strategy import Config, Context, Gap, Order, Strategy, Trade
from engine.core.types import ContractKind, Instrument, OrderKind, Side, TimeInForce

__version__ = version("papertape")

__all__ = [
    "Book",
    "Config",
    "Context",
    "ContractKind",
    "Fill",
    "Gap",
    "Instrument",
    "Order",
    "OrderKind",
    "Peg",
    "PegTo",
    "SelfTrade",
    "Side",
    "Signal",
    "Strategy",
    "TimeInForce",
    "Trade",
    "TrailBy",
    "Trigger",
    "TriggerBy",
    "stop",
    "take_profit",
    "trailing",
]
