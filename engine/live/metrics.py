"""Every metric of the daemon in one table, and the page that Prometheus reads.

The loop takes a plain snapshot (``engine.live.measures``), which is cheap; ``Exporter.render`` turns it into text and
may run in a thread. ``deploy/METRICS.md`` is made of the table, and a test holds table, page, dashboards and alerts
together::

    python -m engine.live.metrics > deploy/METRICS.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from engine.live.latency import Latency

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

Kind = Literal["counter", "gauge", "histogram"]

BOUNDS_NS: Final = [1 << power for power in range(10, 34)]
"""Upper edges of the latency buckets: 1.024 µs, 2.048 µs … 8.6 s; exact, as ``Latency`` splits at powers of two."""


class Metric(NamedTuple):
    """One metric: its name without the prefix, its labels (all bounded by the config or a fixed set of words)."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


PREFIX: Final = "papertape_"

LABELS: Final = {
    "run": "the run's name in the config",
    "version": "of Papertape",
    "stream": "a side stream's name in the config",
    "outcome": "`accepted`, or why a row of a side stream was refused, a fixed set of words",
    "venue": "a venue's name in the config",
    "shard": "a part of a run, `shard-I-of-N`",
    "symbol": "an instrument, `venue:SYMBOL`",
    "side": "`bid` or `ask`",
    "strategy": "a strategy's name in the config",
    "model": "a model's name in the config",
    "contest": "a contest's name in the config",
    "label": "a label of a model, such as `return@1s`",
    "factor": "of the model's horizon: `0.1`, `0.25`, `0.5`, `1`, `2` or `4`",
    "delay": "`0s`, `0.1s`, `0.3s` or `1s`",
    "regime": "the number of a regime, at most eight a model",
    "currency": "of a settlement or balance",
    "leg": "`out`, `back` or `feed`",
    "grade": "`certain`, `likely`, `ambiguous`, or `assumed` while the daemon was away",
    "who": "`detector`, or one who fires `always` or `never`",
    "verdict": "of an alarm `true`, `harmless`, `late` or `unknown`; `missed` of a drift without one",
    "queue_model": "a queue model of the paper venue, the bounds `front` and `back` among them",
    "fate": "`surely`, `surely_not` or `unknown`",
    "horizon": "`0.1s`, `1s`, `10s` or `60s`",
    "reason": "a risk rule, a reason for a rejection, a new grade or a lost label; a fixed set of words",
}
"""Every label there is; none grows with time."""

_VENUE, _SYMBOL, _MODEL, _STRATEGY, _STREAM = ("venue",), ("symbol",), ("model",), ("strategy",), ("stream",)
_GRADED = ("model", "who", "verdict")

_TRADED, _MISSED = ("strategy", "symbol"), ("strategy", "symbol", "horizon")
_MARKOUT = ("strategy", "symbol", "grade", "horizon")

TABLE: Final[tuple[Metric, ...]] = (
    Metric("info", "gauge", ("run", "version"), "Always 1; says which run and version this is."),
    Metric("start_time_seconds", "gauge", (), "When the daemon started, seconds since the epoch."),
    Metric("ready", "gauge", (), "1 when every book may be used, every venue is connected and the loop keeps up."),
    Metric("halted", "gauge", (), "1 when the kill switch is on: no new order leaves."),
    Metric("loop_lag_seconds", "gauge", (), "Time since the engine last looked at the bus."),
    Metric(
        "longest_turn_seconds", "gauge", (), "The longest that the engine kept the loop for itself, since the start."
    ),
    Metric("inputs_total", "counter", (), "Inputs the engine processed: batches, clock rows, commands, models."),
    Metric("batches_total", "counter", (), "Batches of market data the engine processed."),
    Metric("batches_missed_total", "counter", (), "Batches handed on by a connection that the engine never saw."),
    Metric("records_total", "counter", (), "Facts that came out of the engine, in all sessions of the run."),
    Metric("digest", "gauge", (), "The first 52 bits of the digest of those facts, to hold two runs together."),
    Metric("session", "gauge", (), "How many times the run was started."),
    Metric("recovered_inputs", "gauge", (), "Inputs that this start played again behind the snapshot."),
    Metric("recovery_seconds", "gauge", (), "How long that took; 0 for a new run."),
    Metric("away_seconds", "gauge", (), "From the last input of the session before to this start."),
    Metric("journal_bytes_total", "counter", (), "Bytes written to the journal in this session."),
    Metric("journal_unsynced_bytes", "gauge", (), "Bytes of it that a loss of power would take."),
    Metric("facts_held", "gauge", (), "Facts that wait for an fsync before they are told, with fsync = always."),
    Metric("facts_untold_total", "counter", (), "Facts that were not told because the disk was too far behind."),
    Metric("journal_fsync_seconds", "gauge", (), "The longest fsync of the journal in this session."),
    Metric("snapshots_total", "counter", (), "Snapshots stored in this session."),
    Metric("snapshots_failed_total", "counter", (), "Snapshots or compactions that failed; the log says why."),
    Metric("snapshot_seconds", "gauge", (), "The longest that taking one kept the loop."),
    Metric("snapshot_bytes", "gauge", (), "Bytes of the newest on disk."),
    Metric("snapshot_age_seconds", "gauge", (), "Since the newest was stored; absent before the first."),
    Metric("blackboxes_total", "counter", (), "Incidents packed in this session."),
    Metric("blackboxes_failed_total", "counter", (), "Incidents that could not be packed."),
    Metric("shard_owned", "gauge", ("shard",), "1 while this process owns its shard, by Redis' last word."),
    Metric("shard_token", "gauge", ("shard",), "The fencing token of the owner; larger with each new one."),
    Metric("shard_lease_seconds", "gauge", ("shard",), "Since Redis last said that the lease is ours."),
    Metric("shard_waiting", "gauge", _VENUE, "Frames read from the market streams that wait to be taken."),
    Metric("shard_unacknowledged", "gauge", _VENUE, "Frames taken that Redis does not know to be written down yet."),
    Metric("shard_claims_total", "counter", _VENUE, "Frames given out before, to us or another owner, and claimed."),
    Metric("shard_hop_seconds", "histogram", (), "From the feed's receipt of a frame to the shard's, through Redis."),
    Metric("bus_depth", "gauge", (), "Inputs that wait for the engine."),
    Metric("bus_capacity", "gauge", (), "Inputs that may wait before a connection is given up."),
    Metric("bus_overflows_total", "counter", (), "Batches that came when the bus was full; each costs a connection."),
    Metric("bus_refused_total", "counter", (), "Commands refused because the bus was full."),
    Metric("venue_open", "gauge", _VENUE, "1 while the connection is open."),
    Metric("venue_frames_total", "counter", _VENUE, "Frames received."),
    Metric("venue_gaps_total", "counter", _VENUE, "Holes in the sequence of depth frames."),
    Metric("venue_reconnects_total", "counter", _VENUE, "Times the connection was opened again."),
    Metric("venue_malformed_total", "counter", _VENUE, "Frames that could not be parsed."),
    Metric("venue_unknown_total", "counter", _VENUE, "Frames of a kind that the adapter does not use."),
    Metric("side_rows_total", "counter", ("stream", "outcome"), "Rows of a side stream, by what became of them."),
    Metric("side_failures_total", "counter", _STREAM, "Times that its source could not be had, or was lost."),
    Metric("side_quality", "gauge", _STREAM, "What validation thinks of its rows lately, 0 to 1."),
    Metric("side_usable", "gauge", _STREAM, "1 when it has spoken, is not stale and not quarantined."),
    Metric("side_age_seconds", "gauge", _STREAM, "Since its last row was available; absent before the first."),
    Metric("book_ready", "gauge", _SYMBOL, "1 when the book is verified by a snapshot and without a gap since."),
    Metric("book_price", "gauge", ("symbol", "side"), "Best price, quote currency."),
    Metric("book_size", "gauge", ("symbol", "side"), "Displayed size at the best price, base asset or contracts."),
    Metric("book_age_seconds", "gauge", _SYMBOL, "Time since the last depth frame; absent before the first."),
    Metric("position", "gauge", ("strategy", "symbol"), "Signed position, base asset or contracts."),
    Metric("profit", "gauge", ("strategy", "currency"), "Realised plus unrealised less fees since the start."),
    Metric("fees", "gauge", ("strategy", "currency"), "Fees paid less rebates since the start."),
    Metric("carry", "gauge", ("strategy", "currency"), "Funding, interest, dividends, insurance received less paid."),
    Metric("cash", "gauge", ("currency",), "The account's balance, spot inventory in its own currency."),
    Metric("order_requests_total", "counter", _STRATEGY, "Orders that strategies asked for, before risk."),
    Metric("orders_refused_total", "counter", ("strategy", "reason"), "Orders that risk refused, by rule."),
    Metric("orders_sent_total", "counter", (), "Orders that left for the paper venue."),
    Metric("orders_filled_total", "counter", (), "Orders filled to the end."),
    Metric("orders_cancelled_total", "counter", (), "Orders cancelled with something left."),
    Metric("orders_rejected_total", "counter", ("reason",), "Orders that the paper venue rejected."),
    Metric("orders_working", "gauge", (), "Orders in flight or resting."),
    Metric("fills_total", "counter", _STRATEGY, "Fills, partial ones included."),
    Metric("fills_graded_total", "counter", ("grade",), "Fills by how sure they were when they came."),
    Metric("fills_regraded_total", "counter", ("reason",), "Fills that later prints settled, or left behind."),
    Metric("fills_unsure_total", "counter", (), "Fills of orders whose book had a gap while they rested."),
    Metric("fills_false_expected", "gauge", (), "How many fills a real order would not have had: sum of 1 - chance."),
    Metric(
        "fill_truth_score", "gauge", (), "Expected share of fills that are real, 0 to 1: the mean of their chances."
    ),
    Metric("fill_truth_low", "gauge", (), "Lower end of the score's 95 % interval, were the chances exact."),
    Metric("fill_truth_high", "gauge", (), "Upper end of it."),
    Metric("fill_truth_measured", "gauge", (), "Of ghost fills of the model in use the share that is beyond doubt."),
    Metric("queue_share", "gauge", _SYMBOL, "Of a cancel what stands in front of the middle of a queue, calibrated."),
    Metric("queue_share_low", "gauge", _SYMBOL, "Lower end of its 95 % interval."),
    Metric("queue_share_high", "gauge", _SYMBOL, "Upper end of it."),
    Metric("ghosts_total", "counter", ("symbol", "fate"), "Ghost orders that ended, by what is known of their fate."),
    Metric("profit_low", "gauge", ("currency",), "Lowest profit after fees under any queue model."),
    Metric("profit_high", "gauge", ("currency",), "Highest profit after fees under any queue model."),
    Metric("profit_hedged_low", "gauge", ("currency",), "The same with fills beyond the run's valued 10 s later."),
    Metric("profit_hedged_high", "gauge", ("currency",), "The same with fills beyond the run's valued 10 s later."),
    Metric("twin_profit", "gauge", ("queue_model", "currency"), "Profit after fees under each queue model."),
    Metric("markout_ticks", "gauge", _MARKOUT, "Mean of side times mid less price after the horizon, over fills."),
    Metric(
        "shortfall_bps", "gauge", _TRADED, "Cost of fills against the mid at request, with fees; above 0 is a cost."
    ),
    Metric("missed_bps", "gauge", _MISSED, "Mean move of the mid, towards the order, after it ended unfilled."),
    Metric("maker_share", "gauge", _TRADED, "Share of the traded size that was traded as maker, 0 to 1."),
    Metric("fill_ratio", "gauge", _TRADED, "Share of the size sent that was filled, 0 to 1."),
    Metric("strategy_stopped", "gauge", _STRATEGY, "1 when the strategy raised or was stopped."),
    Metric("signals_total", "counter", (), "Predictions and signals that came out."),
    Metric("model_predictions_total", "counter", _MODEL, "Predictions made."),
    Metric("model_learned_total", "counter", _MODEL, "Labels that matured, were scored and then learned."),
    Metric("model_retrains_total", "counter", _MODEL, "Trainings asked for, by schedule or by drift."),
    Metric("model_swaps_total", "counter", _MODEL, "Trained models taken into use."),
    Metric("contest_champion", "gauge", ("contest", "model"), "1 for the model that speaks for the contest, else 0."),
    Metric("contest_wealth", "gauge", ("contest", "model"), "Wealth of the bet that a challenger is better."),
    Metric("contest_account", "gauge", ("contest", "model"), "What a shadow account gained, settlement currency."),
    Metric("contest_account_out", "gauge", ("contest", "model"), "1 for a shadow account that may not trade, else 0."),
    Metric("contest_promotions_total", "counter", ("contest",), "Champions made by evidence."),
    Metric("contest_rollbacks_total", "counter", ("contest",), "Champions whose predecessor came back."),
    Metric("model_refused_total", "counter", _MODEL, "Trained models not taken, failed trainings included."),
    Metric("model_drift_alarms_total", "counter", _MODEL, "Alarms of drift: times a detector of the model fired."),
    Metric("model_drift_graded_total", "counter", _GRADED, "Alarms judged by the loss after them, and drifts missed."),
    Metric("model_drift_nearness", "gauge", _MODEL, "What the scans tell as a share of the threshold; 1 is an alarm."),
    Metric("model_drift_tuned", "gauge", _MODEL, "1 when the thresholds were found for the budget on own labels."),
    Metric("model_drift_size", "gauge", _MODEL, "What alarms leave of a position on the model's word, 0 to 1."),
    Metric("model_drift_odd_total", "counter", _MODEL, "Values that drift is looked for in and that were absurd."),
    Metric("model_ic", "gauge", _MODEL, "Information coefficient: correlation of predictions with labels."),
    Metric("model_ic_low", "gauge", _MODEL, "Lower end of its 95 % interval, from blocks of several horizons."),
    Metric("model_ic_high", "gauge", _MODEL, "Upper end of it."),
    Metric("model_spearman", "gauge", _MODEL, "Rank correlation of the last 1,024 kept pairs."),
    Metric("model_r2", "gauge", _MODEL, "1 - squared error / that of always saying 0; 1 is perfect."),
    Metric("model_r2_last", "gauge", _MODEL, "1 - squared error / that of saying the last label known again."),
    Metric("model_slope", "gauge", _MODEL, "Of the label on the prediction; 1 where sizes are right."),
    Metric("model_log_loss", "gauge", _MODEL, "Direction labels: of up against down, nats; 0.693 is a coin."),
    Metric("model_gross_bps", "gauge", _MODEL, "Mean move in the predicted direction, before costs."),
    Metric("model_net_bps", "gauge", _MODEL, "The same less spread and fees, where the prediction exceeds them."),
    Metric("model_trades_total", "counter", _MODEL, "Predictions that exceeded spread and fees."),
    Metric("model_lost_labels_total", "counter", ("model", "reason"), "Labels void, dropped, or with a hole."),
    Metric("model_decay_ic", "gauge", ("model", "factor"), "Correlation with the return over other horizons."),
    Metric("model_entry_ic", "gauge", ("model", "delay"), "Correlation with a return that begins later."),
    Metric("model_regime_ic", "gauge", ("model", "regime"), "Information coefficient by regime, where one is told."),
    Metric("model_label_ic", "gauge", ("model", "label"), "Information coefficient by label."),
    Metric("model_rmse_bps", "gauge", _MODEL, "Root mean squared error, bps of return, or the label's own unit."),
    Metric("model_hit_ratio", "gauge", _MODEL, "Share of predictions with the right sign, 0 to 1."),
    Metric("model_pending_labels", "gauge", _MODEL, "Predictions whose label has not matured yet."),
    Metric("model_training", "gauge", _MODEL, "1 while a training of this model is under way."),
    Metric("model_stopped", "gauge", _MODEL, "1 when the model failed and does not predict any more."),
    Metric("trainings_running", "gauge", (), "Trainings under way beside the loop."),
    Metric("trainings_started_total", "counter", (), "Trainings started."),
    Metric(
        "trainings_failed_total", "counter", ("reason",), "Trainings that failed: died, hung, memory, failed, disk."
    ),
    Metric("trainings_late_total", "counter", (), "Trainings that took longer than the time between two of a model."),
    Metric(
        "model_training_progress",
        "gauge",
        _MODEL,
        "How much of a training under way is done, as far as it tells, 0 to 1.",
    ),
    Metric(
        "model_training_seconds",
        "gauge",
        _MODEL,
        "How long the last training took, waiting included; 0 before the first.",
    ),
    Metric("venue_round_trip_seconds", "gauge", _VENUE, "Median of the last websocket pings, there and back."),
    Metric("venue_feed_delay_seconds", "gauge", _VENUE, "What market data lately came later than at best, median."),
    Metric(
        "venue_latency_seconds",
        "gauge",
        ("venue", "leg"),
        "What the paper venue assumes: an order's way out, an answer's way back, the age of market data.",
    ),
    Metric("round_trip_seconds", "histogram", (), "Websocket pings to all venues, there and back."),
    Metric("tick_to_decision_seconds", "histogram", (), "From a frame's receipt until the engine was done with it."),
    Metric("tick_to_order_seconds", "histogram", (), "The same, of frames in answer to which an order left."),
)

Samples = Sequence[tuple[tuple[str, ...], float]]


class Snapshot(NamedTuple):
    """What was measured at one moment: by name without prefix, values by label values, and histograms as copies."""

    values: Mapping[str, Samples]
    histograms: Mapping[str, Latency]


class Exporter(Collector):
    """Renders snapshots, with the process's own figures (memory, CPU, files) added.

    >>> page = Exporter().render(Snapshot({"ready": [((), 1.0)]}, {})).decode()
    >>> "papertape_ready 1.0" in page, "papertape_halted" in page
    (True, False)
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot
        self._process = ProcessCollector(registry=None)

    def render(self, snapshot: Snapshot) -> bytes:
        """The page; pure work on the snapshot, for any thread."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exporter(snapshot))
        registry.register(self._process)
        return generate_latest(registry)

    def collect(self) -> Iterator[Family]:
        """Families in the order of the table; a metric without values is left out."""
        if self._snapshot is None:
            return
        for metric in TABLE:
            if metric.kind == "histogram":
                if (latency := self._snapshot.histograms.get(metric.name)) is not None:
                    yield _histogram(metric, latency)
            elif metric.name in self._snapshot.values:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = kind(metric.full_name, metric.help, labels=metric.labels)
                for labels, value in self._snapshot.values[metric.name]:
                    family.add_metric(labels, value)
                yield family


def _histogram(metric: Metric, latency: Latency) -> Family:
    family = HistogramMetricFamily(metric.full_name, metric.help)
    counts = latency.cumulative(BOUNDS_NS)
    buckets = [(repr(bound / 1e9), float(count)) for bound, count in zip(BOUNDS_NS, counts, strict=True)]
    family.add_metric([], [*buckets, ("+Inf", float(latency.count))], latency.sum_ns / 1e9)
    return family


def markdown() -> str:
    """The table as ``deploy/METRICS.md``."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics`. Made from the table in `engine/live/metrics.py` by",
        "`python -m engine.live.metrics > deploy/METRICS.md`; do not edit by hand.",
        "The process's own figures (`process_*`) are there too, where the platform tells them.",
        "",
        "| metric | type | labels | what it says |",
        "|---|---|---|---|",
    ]
    for metric in TABLE:
        labels = ", ".join(metric.labels) or "–"
        lines.append(f"| `{metric.full_name}` | {metric.kind} | {labels} | {metric.help} |")
    lines += ["", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {meaning} |" for label, meaning in LABELS.items()]
    buckets = f"`le` runs from {BOUNDS_NS[0] / 1e3:g} µs to {BOUNDS_NS[-1] / 1e9:.1f} s by powers of two."
    lines += ["", f"Buckets of the latency histograms: {buckets}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown())
