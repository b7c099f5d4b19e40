"""What the metrics are read from: one cheap, plain snapshot, taken on the loop."""

from __future__ import annotations

from decimal import Decimal
from importlib.metadata import version

from engine.core.engine import Engine
from engine.live.measures_memory import memory
from engine.live.measures_models import contests, models
from engine.live.measures_shard import hop, shard
from engine.live.measures_side import side_streams
from engine.live.measures_truth import truth
from engine.live.metrics import Snapshot
from engine.live.training import FAILURES
from engine.live.view import View

Values = dict[str, list[tuple[tuple[str, ...], float]]]


def measure(view: View) -> Snapshot:
    """Everything in ``engine.live.metrics.TABLE`` as of now; nothing in it changes afterwards."""
    values: Values = {}
    _daemon(view, values)
    _venues(view, values)
    _books(view.runner.engine, view.runner.clock.now_ns(), values)
    _money(view.runner.engine, values)
    _orders(view, values)
    truth(view.runner.engine, values)
    models(view.model_summaries(), values)
    contests(view.contests(), values)
    side_streams(view.side(), values)
    memory(view.remembered(), view.runner.engine.digest, values)
    of_shard = view.shard()
    shard(of_shard, values)
    runner = view.runner
    return Snapshot(
        values,
        {
            "tick_to_decision_seconds": runner.decision.copy(),
            "tick_to_order_seconds": runner.order.copy(),
            "round_trip_seconds": runner.round_trip.copy(),
            **hop(of_shard),
        },
    )


def _one(value: float) -> list[tuple[tuple[str, ...], float]]:
    return [((), float(value))]


def _daemon(view: View, values: Values) -> None:
    runner, bus = view.runner, view.runner.bus
    training = runner.training
    values["info"] = [((view.run_name, version("papertape")), 1.0)]
    plain = {
        "start_time_seconds": view.started_ns / 1e9,
        "ready": view.ready()[0],
        "halted": runner.engine.halted,
        "loop_lag_seconds": view.lag_ns() / 1e9,
        "longest_turn_seconds": runner.longest_turn_ns / 1e9,
        "inputs_total": runner.processed,
        "batches_total": runner.batches_processed,
        "batches_missed_total": runner.missed,
        "records_total": runner.engine.seq,
        "facts_held": len(runner.held),
        "facts_untold_total": runner.held.dropped,
        "bus_depth": len(bus),
        "bus_capacity": bus.capacity,
        "bus_overflows_total": bus.overflows,
        "bus_refused_total": bus.refused,
        "signals_total": view.heard.signals,
        "trainings_running": training.running if training else 0,
        "trainings_started_total": training.started if training else 0,
        "trainings_late_total": training.late if training else 0,
    }
    values.update({name: _one(value) for name, value in plain.items()})
    failures, progress, seconds = (
        (training.failures, training.progress(), training.seconds) if training else ({}, {}, {})
    )
    values["trainings_failed_total"] = [((why,), float(failures.get(why, 0))) for why in FAILURES]
    for model in view.models.names if view.models is not None else ():
        values.setdefault("model_training_progress", []).append(((model,), progress.get(model, 0.0)))
        values.setdefault("model_training_seconds", []).append(((model,), seconds.get(model, 0.0)))


def _venues(view: View, values: Values) -> None:
    for name, feed in view.feeds.items():
        stats = feed.stats
        for what in ("frames", "gaps", "reconnects", "malformed", "unknown"):
            values.setdefault(f"venue_{what}_total", []).append(((name,), float(getattr(stats, what))))
        values.setdefault("venue_open", []).append(((name,), float(view.is_open(name))))
    for row in view.latencies():
        venue = str(row["venue"])
        if row["round_trip_ms"] is not None:
            trip = ((venue,), float(row["round_trip_ms"]) / 1e3)
            values.setdefault("venue_round_trip_seconds", []).append(trip)
            delay = ((venue,), float(row["feed_delay_ms"]) / 1e3)
            values.setdefault("venue_feed_delay_seconds", []).append(delay)
        for leg in ("out", "back", "feed"):
            assumed = float(row[f"{leg}_ms"]) / 1e3
            values.setdefault("venue_latency_seconds", []).append(((venue, leg), assumed))


def _books(engine: Engine, now_ns: int, values: Values) -> None:
    for instrument, book in zip(engine.instruments, engine.book_views, strict=True):
        name = instrument.name
        values.setdefault("book_ready", []).append(((name,), float(book.is_ready)))
        if book.changed_ns:
            age_ns = max(now_ns - book.changed_ns, 0)
            values.setdefault("book_age_seconds", []).append(((name,), age_ns / 1e9))
        for side, price, size in (("bid", book.bid, book.bid_size), ("ask", book.ask, book.ask_size)):
            if price:
                labels = (name, side)
                values.setdefault("book_price", []).append((labels, price / 10**instrument.price_decimals))
                values.setdefault("book_size", []).append((labels, size / 10**instrument.size_decimals))


def _money(engine: Engine, values: Values) -> None:
    ledger = engine.ledger
    values["cash"] = [((currency,), float(value)) for currency, value in sorted(ledger.cash().items())]
    for strategy in engine.roster.slots:
        amounts: dict[str, dict[str, Decimal]] = {
            "profit": ledger.profit(strategy),
            "fees": ledger.fees(strategy),
            "carry": ledger.carry(strategy),
        }
        for what, by_currency in amounts.items():
            values.setdefault(what, []).extend(
                ((strategy, currency), float(value)) for currency, value in by_currency.items()
            )
    for entry in ledger.entries():
        instrument = engine.instruments[entry.symbol]
        size = entry.size / 10**instrument.size_decimals
        values.setdefault("position", []).append(((entry.strategy, instrument.name), size))


def _orders(view: View, values: Values) -> None:
    engine, heard = view.runner.engine, view.heard
    desk = engine.desk
    for name in ("sent", "filled", "cancelled"):
        values[f"orders_{name}_total"] = _one(getattr(desk, name))
    values["orders_working"] = _one(len(desk.orders))
    values["orders_rejected_total"] = [((reason,), float(count)) for reason, count in desk.rejections.items()]
    values["orders_refused_total"] = [
        ((strategy, rule), float(count)) for (strategy, rule), count in heard.refused.items()
    ]
    for strategy in engine.roster.slots:
        values.setdefault("order_requests_total", []).append(((strategy,), float(heard.requests.get(strategy, 0))))
        values.setdefault("fills_total", []).append(((strategy,), float(heard.fills.get(strategy, 0))))
        stopped = float(strategy in engine.roster.stopped)
        values.setdefault("strategy_stopped", []).append(((strategy,), stopped))
