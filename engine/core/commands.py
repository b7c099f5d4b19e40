"""What is done to a run: start, stop, away, halt, resume, flatten, reload, configure; stop-loss and drawdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.book import ASK, BID, IS_READY
from engine.core.desk.risk import Intent
from engine.core.events import Command
from engine.core.records import Account, Commanded, Note, RiskAction
from engine.core.types import OrderKind, TimeInForce

if TYPE_CHECKING:
    from engine.core.engine import Engine
    from engine.core.roster import Factory

WATCH_NS = 100_000_000
"""How often positions are valued and held against the limits, engine time."""

ACCOUNT_NS = 1_000_000_000
"""How often the accounts of strategies with a position are recorded, engine time."""


class Commands:
    """The engine's own hands on the orders."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._flattening: dict[tuple[str, int], int] = {}  # by scope: when to try (again)
        self._watching = False
        self._account_ns = 0
        self._back_ns = 0
        self.is_running = False

    def obey(self, command: Command) -> None:
        """Carry out a command; an unknown one is refused before it gets here (see ``COMMANDS``)."""
        engine = self._engine
        action = COMMANDS.get(command.name)
        if action is None:
            raise UnknownCommand(f"expected one of {', '.join(COMMANDS)}, found {command.name!r}")
        # A list may be as long as a day, and a configuration is long too; the input on the tape holds it.
        shown = {key: len(value) if isinstance(value, list) else value for key, value in command.args.items()}
        shown.pop("config", None)
        engine.emit(Commanded(command.name, shown))
        action(self, command)

    def _start(self, command: Command) -> None:
        del command
        self.is_running = True
        self._engine.signals.arm()
        for slot in self._engine.roster.active():
            if "on_start" in slot.hears:
                self._engine.call(slot, slot.hears["on_start"])

    def _stop(self, command: Command) -> None:
        """Let strategies say their last word, take all orders back, record the accounts."""
        del command
        self.is_running = False
        engine = self._engine
        for slot in engine.roster.active():
            if "on_stop" in slot.hears:
                engine.call(slot, slot.hears["on_stop"])
        engine.settle()
        engine.desk.hear_twins()
        engine.desk.cancel_all(None, engine.now_ns, "stop")
        self._mark()
        self._record_accounts()
        engine.honesty.finish()
        engine.signals.flush()

    def _away(self, command: Command) -> None:
        """Nobody was here until ``until_ns``: what strategies wanted to be called for meanwhile comes once, then.

        All else that falls due in between happens at its own time: orders arrive and expire, funding is paid.
        """
        self._back_ns = int(command.args["until_ns"])
        self._engine.timers.postpone(self._back_ns)

    def _missed(self, command: Command) -> None:
        """A venue tells what traded while nobody listened; ``away`` comes after it."""
        engine = self._engine
        if problem := engine.desk.missed.hear(command.args, engine.now_ns):
            engine.emit(Note("", {"missed": problem}))

    def _halt(self, command: Command) -> None:
        reason = str(command.args.get("reason", "command"))
        self._engine.risk.halt(reason)
        self._engine.emit(RiskAction("kill_switch", "all", reason))
        self._engine.desk.cancel_all(None, self._engine.now_ns, "halt")

    def _resume(self, command: Command) -> None:
        del command
        self._engine.risk.resume()
        self._engine.emit(RiskAction("resume", "all", "command"))

    def _flatten(self, command: Command) -> None:
        only = command.args.get("strategy")
        for name in self._engine.roster.slots:
            if only is None or name == only:
                self.flatten(name)

    def _promote(self, command: Command) -> None:
        model = command.args.get("model") if command.name == "promote" else None
        try:
            self._engine.signals.promote(str(command.args.get("contest")), model)
        except ValueError as error:
            self._engine.emit(Note("", {command.name: str(error)}))

    def _retrain(self, command: Command) -> None:
        try:
            self._engine.signals.retrain(str(command.args.get("model")))
        except ValueError as error:
            self._engine.emit(Note("", {command.name: str(error)}))

    def _reload(self, command: Command) -> None:
        only = command.args.get("strategy")
        engine = self._engine
        for name in list(engine.roster.slots):
            if only is not None and name != only:
                continue
            problem = engine.roster.reload(name)
            if problem is not None:
                engine.emit(Note(name, {"reload": problem}))
                continue
            engine.subscribe()
            slot = engine.roster.slots[name]
            if "on_start" in slot.hears:
                engine.call(slot, slot.hears["on_start"])

    def _configure(self, command: Command) -> None:
        """The configuration changed between two sessions: other limits, strategies that came, changed or went.

        Who went has its orders taken back and keeps its positions; who changed keeps its orders where it still listens.
        What cannot be built under its new settings is stopped, as it must not go on under the old ones.
        """
        engine = self._engine
        changes = engine.changes(command.args)
        engine.risk.change(changes.risk)
        for name in changes.gone:
            engine.roster.remove(name)
            engine.desk.cancel_all(name, engine.now_ns, "removed")
        for name, factory in changes.built.items():
            self._put(name, factory, takes_over=name not in changes.anew)
        engine.subscribe()
        for name in changes.built:
            slot = engine.roster.slots[name]
            if self.is_running and name not in engine.roster.stopped and "on_start" in slot.hears:
                engine.call(slot, slot.hears["on_start"])

    def _put(self, name: str, factory: Factory, *, takes_over: bool) -> None:
        engine = self._engine
        problem = engine.roster.put(name, factory, takes_over=takes_over)
        if problem is not None:
            engine.stop_strategy(name, f"configure: {problem}")
            return
        listens = engine.roster.slots[name].symbols
        for order in list(engine.desk.of(name)):
            if not takes_over or order.intent.symbol not in listens:
                engine.desk.cancel(order.intent.order, name, engine.now_ns, "reconfigured")

    def flatten(self, strategy: str, symbol: int | None = None) -> None:
        """Take a strategy's orders back and close its positions at the market, on one symbol or on all."""
        engine = self._engine
        symbols = range(len(engine.instruments)) if symbol is None else (symbol,)
        for one in symbols:
            self._flattening[strategy, one] = engine.now_ns
            engine.risk.hold(strategy, one)
            engine.desk.cancel_all(strategy, engine.now_ns, "flatten", one)
        self.start_watching()
        for one in symbols:
            self.progress(strategy, one)

    def progress(self, strategy: str, symbol: int) -> None:
        """One of its orders changed: once nothing works there any more, close what is left.

        What the market did not take is tried again with the watch, not at once: an empty side stays empty for a while.
        """
        engine = self._engine
        scope = (strategy, symbol)
        if scope not in self._flattening:
            return
        if any(order.intent.symbol == symbol for order in engine.desk.of(strategy)):
            return
        position = engine.ledger.position(symbol, strategy)
        if position == 0:
            self._flat(scope)
        elif engine.books.top[symbol, IS_READY] and engine.now_ns >= self._flattening[scope]:
            self._flattening[scope] = engine.now_ns + WATCH_NS
            instrument = engine.instruments[symbol]
            most = instrument.max_size - instrument.max_size % instrument.lot or abs(position)
            intent = Intent(
                order=engine.next_order_id(),
                strategy=strategy,
                symbol=symbol,
                side=-1 if position > 0 else 1,
                kind=OrderKind.MARKET,
                time_in_force=TimeInForce.GTC,
                price=0,
                size=min(abs(position), most),
                post_only=False,
                flattening=True,
            )
            if not engine.desk.request(intent, engine.now_ns):
                self._flat(scope)  # the venue takes no such order, and will not later

    def _flat(self, scope: tuple[str, int]) -> None:
        self._flattening.pop(scope, None)
        self._engine.risk.release(*scope)

    def start_watching(self) -> None:
        """Value positions from here on, until there are none."""
        if not self._watching:
            self._watching = True
            self._engine.schedule(max(self._engine.now_ns + WATCH_NS, self._back_ns), "watch")

    def watch(self, *_: object) -> None:
        """Value the positions and act on the limits that they break."""
        engine = self._engine
        self._watching = False
        self._mark()
        engine.charges.watch()
        for action in engine.risk.watch(engine.now_ns):
            engine.emit(RiskAction(action.rule, action.strategy or "all", action.detail))
            scope = [action.strategy] if action.strategy else list(engine.roster.slots)
            for strategy in scope:
                self.flatten(strategy, action.symbol)
        if engine.now_ns - self._account_ns >= ACCOUNT_NS:
            self._account_ns = engine.now_ns
            self._record_accounts()
            engine.honesty.record_accounts()
        for strategy, symbol in sorted(self._flattening):
            self.progress(strategy, symbol)
        if self._flattening or self._has_positions():
            self.start_watching()

    def _has_positions(self) -> bool:
        """Whether anything is worth valuing: positions, of the run or of its twins."""
        ledger, twins = self._engine.ledger, self._engine.honesty.twins
        return any(entry.size for entry in ledger.entries()) or twins.has_positions()

    def _mark(self) -> None:
        engine = self._engine
        for symbol in range(len(engine.instruments)):
            row = engine.books.top[symbol]
            if row[IS_READY] and row[BID] and row[ASK]:
                engine.ledger.mark(symbol, int(row[BID]) + int(row[ASK]))

    def _record_accounts(self) -> None:
        ledger = self._engine.ledger
        for strategy in self._engine.roster.slots:
            profit = ledger.profit(strategy)
            realised, unrealised, fees = ledger.realised(strategy), ledger.unrealised(strategy), ledger.fees(strategy)
            carry = ledger.carry(strategy)
            for currency in sorted(profit):
                self._engine.emit(
                    Account(
                        strategy=strategy,
                        currency=currency,
                        equity=format(profit[currency], "f"),
                        realised=format(realised.get(currency, 0), "f"),
                        unrealised=format(unrealised.get(currency, 0), "f"),
                        fees=format(fees.get(currency, 0), "f"),
                        carry=format(carry.get(currency, 0), "f"),
                    )
                )


class UnknownCommand(ValueError):
    """The engine knows no such command; nothing was done."""


COMMANDS = {
    "start": Commands._start,
    "stop": Commands._stop,
    "missed": Commands._missed,
    "away": Commands._away,
    "halt": Commands._halt,
    "resume": Commands._resume,
    "flatten": Commands._flatten,
    "reload": Commands._reload,
    "configure": Commands._configure,
    "promote": Commands._promote,
    "rollback": Commands._promote,
    "retrain": Commands._retrain,
}
"""Every command by name."""
