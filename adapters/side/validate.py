"""Which rows of a side stream are believed: schema, range, freshness, duplicates, order, rate.

Every row that comes is accepted or refused for one reason, and counted. Rows that were seen before, history behind a
newer row of the same payload, and rows beyond the rate say nothing bad of a stream and leave its quality alone.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import msgspec

from adapters.side.parse import BREATH_ROWS, Missing, RawRow, go_on
from adapters.side.quality import Quality
from adapters.side.schema import FieldSpec, Schema, Unit
from engine.core.events import Judged, Observed

SCALES: Final = {"ns": 0, "us": 3, "ms": 6, "s": 9}
ROUNDING: Final = 1e-6
"""Of a row of the rate: who waited exactly long enough is not refused."""

MAX_DIGITS: Final = 40
"""Of a number that comes as text."""

LAST_NS: Final = 1 << 62
"""A later time (the year 2116) is no time."""

NEUTRAL: Final = frozenset({"duplicate", "rate"})
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


class Refused(ValueError):
    """A row is not used: why, in a word of ``REASONS``, and what was found."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(found)
        self.reason = reason
        self.found = found


class Before(NamedTuple):
    """Where a stream's validation goes on after a restart; of a new run nothing."""

    event_ns: int = 0
    prints: Iterable[str] = ()
    quality: float = 1.0
    is_good: bool = True


class Verdict(NamedTuple):
    """What became of a row: ``reason`` is empty for an accepted one; ``says`` is what the engine must hear."""

    reason: str
    found: str
    says: Sequence[Observed | Judged]


class Validator:
    """The validation of one stream: pure, with our time given to it; bounded memory.

    >>> from adapters.side.schema import FieldSpec
    >>> validator = Validator(Schema(name="x", fields=(FieldSpec("rate", "$.rate", low=-1.0, high=1.0),)))
    >>> validator.take(RawRow({"fields.rate.path": "0.5"}), now_ns=7).says[0].values
    {'rate': 0.5}
    >>> validator.take(RawRow({"fields.rate.path": 2}), now_ns=8)[:2]
    ('range', 'rate: expected -1 to 1, found 2')
    >>> validator.received, validator.accepted, dict(validator.rejected)
    (2, 1, {'range': 1})
    """

    def __init__(self, schema: Schema, before: Before | None = None) -> None:
        before = before or Before()
        self.schema = schema
        self.received = self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.last_refusal = ""
        self.quality = Quality(
            schema.least_quality,
            schema.most_rejected,
            schema.good_rows,
            score=before.quality,
            is_good=before.is_good,
        )
        self._newest_ns = before.event_ns
        self._prints: OrderedDict[str, None] = OrderedDict.fromkeys(before.prints)
        self._tokens = self._burst = float(max(schema.most_rows, math.ceil(schema.most_per_s)))
        self._filled_ns = 0

    def in_order(self, rows: Sequence[RawRow], breathe: Callable[[], None] = go_on) -> list[tuple[RawRow, bool]]:
        """A payload's rows by their own time, and whether each has a later one behind it: history."""
        if self.schema.event is None:
            return [(row, False) for row in rows]
        timed = []
        for at, row in enumerate(rows):
            timed.append((self._time_or_0(row), at))
            if at % BREATH_ROWS == 0:
                breathe()
        timed.sort()
        newest = timed[-1][0] if timed else 0
        return [(rows[at], ns < newest) for ns, at in timed]

    def take(self, row: RawRow, now_ns: int, is_history: bool = False) -> Verdict:
        """Judge a row that came at ``now_ns``."""
        self.received += 1
        try:
            observed = self._check(row, now_ns)
        except Refused as refused:
            return self._refuse(refused, now_ns, is_history)
        back = self.quality.good(self._mark(observed.event_ns, now_ns))
        self._newest_ns = max(self._newest_ns, observed.event_ns)
        if not self.quality.is_good:
            return self._count("quarantined", f"the stream's quality is {self.quality.score:.2f}")
        self.accepted += 1
        score = self.quality.score
        seen = msgspec.structs.replace(observed, quality=score)
        judged = (Judged(now_ns, self.schema.name, True, back, score),) if back else ()
        return Verdict("", "", (*judged, seen))

    def _refuse(self, refused: Refused, now_ns: int, is_history: bool) -> Verdict:
        is_neutral = refused.reason in NEUTRAL or (is_history and refused.reason in ("late", "order"))
        out = "" if is_neutral else self.quality.bad(refused.reason)
        says = (Judged(now_ns, self.schema.name, False, out, self.quality.score),) if out else ()
        return self._count(refused.reason, refused.found, says)

    def _count(self, reason: str, found: str, says: Sequence[Judged] = ()) -> Verdict:
        self.rejected[reason] += 1
        if reason != "duplicate":
            self.last_refusal = f"{reason}: {found}"
        return Verdict(reason, found, says)

    def _check(self, row: RawRow, now_ns: int) -> Observed:
        """The row as an observation; raises ``Refused``."""
        schema = self.schema
        self._spend(now_ns)
        if row.failed == "payload":
            raise Refused(row.failed, row.found)
        content, identity = self._known(row)
        event_ns = self._event(row, content)
        if event_ns > now_ns + schema.ahead_ns:  # not remembered: its time may come
            raise Refused("future", f"a time {(event_ns - now_ns) / 1e9:.3f} s ahead of ours")
        self._remember(content)
        if row.failed:
            raise Refused(row.failed, row.found)
        values = {}
        for field in schema.fields:
            value = _number(field, row.cells.get(f"fields.{field.name}.path"))
            if value is not None:
                values[field.name] = value
        text = self._text(row, values)
        if schema.oldest_ns and event_ns and now_ns - event_ns > schema.oldest_ns:
            raise Refused("late", f"{(now_ns - event_ns) / 1e9:.3f} s old, oldest {schema.oldest_ns / 1e9:g} s")
        if event_ns and event_ns < self._newest_ns:
            raise Refused("order", f"{(self._newest_ns - event_ns) / 1e9:.3f} s before the newest accepted row")
        for field in schema.fields:
            if (value := values.get(field.name)) is not None and not field.low <= value <= field.high:
                raise Refused("range", f"{field.name}: expected {field.low:g} to {field.high:g}, found {value:g}")
        self._remember(identity)
        return Observed(now_ns, schema.name, event_ns, values, print=identity, text=text)

    def wait_s(self, now_ns: int) -> float:
        """How long until the rate allows a row, seconds."""
        self._fill(now_ns)
        return max(0.0, (1.0 - self._tokens) / self.schema.most_per_s)

    def _fill(self, now_ns: int) -> None:
        """What was not spent of the rate is kept up to a whole payload."""
        gained = max(0, now_ns - self._filled_ns) / 1e9 * self.schema.most_per_s
        self._tokens, self._filled_ns = min(self._burst, self._tokens + gained), max(now_ns, self._filled_ns)

    def _spend(self, now_ns: int) -> None:
        """One row of the rate."""
        self._fill(now_ns)
        if self._tokens < 1.0 - ROUNDING:
            raise Refused("rate", f"more than {self.schema.most_per_s:g} rows a second")
        self._tokens -= 1.0

    def _known(self, row: RawRow) -> tuple[str, str]:
        """The prints of a row's content and of what it is known by; empty where rows cannot be told apart.

        A row whose content was seen, accepted or not, is a duplicate, and so is one whose key was accepted.
        """
        schema = self.schema
        if not schema.key and schema.event is None:
            return "", ""
        content = _print(sorted(row.cells.items()))
        identity = _print(row.cells.get("key")) if schema.key else content
        if content in self._prints or identity in self._prints:
            raise Refused("duplicate", "seen before")
        return content, identity

    def _remember(self, mark: str) -> None:
        if mark:
            self._prints[mark] = None
            while len(self._prints) > self.schema.remember:
                self._prints.popitem(last=False)

    def _event(self, row: RawRow, content: str) -> int:
        if self.schema.event is None:
            return 0
        found = row.cells.get("time.event")
        event_ns = exact_ns(found, self.schema.event.unit)
        if event_ns is None:
            self._remember(content)
            raise Refused("schema", f"time.event: expected a time in {self.schema.event.unit}, found {_shown(found)}")
        return event_ns

    def _time_or_0(self, row: RawRow) -> int:
        assert self.schema.event is not None
        return exact_ns(row.cells.get("time.event"), self.schema.event.unit) or 0

    def _text(self, row: RawRow, values: dict[str, float]) -> str:
        """Put a text's score among the values; what is taped of the text."""
        spec = self.schema.text
        if spec is None:
            return ""
        found = row.cells.get("text.path")
        if not isinstance(found, str):
            raise Refused("schema", f"text.path: expected a text, found {_shown(found)}")
        if row.score is not None:
            if not isinstance(row.score, int | float) or not -1.0 <= row.score <= 1.0:
                raise Refused("range", f"{spec.field}: expected a score from -1 to 1, found {_shown(row.score)}")
            values[spec.field] = float(row.score)
        if spec.keep:
            return row.text
        return hashlib.sha256(row.text.encode(errors="backslashreplace")).hexdigest()[:16]

    def _mark(self, event_ns: int, now_ns: int) -> float:
        """1 for a row that is fresh, a half for one as old as may be."""
        if not self.schema.oldest_ns or not event_ns:
            return 1.0
        return 1.0 - 0.5 * min(1.0, max(0.0, (now_ns - event_ns) / self.schema.oldest_ns))


def _print(told: Any) -> str:
    """What a value is known by."""
    try:
        return hashlib.blake2b(repr(told).encode(errors="backslashreplace"), digest_size=8).hexdigest()
    except (ValueError, RecursionError) as error:  # an integer of more digits than Python prints, a deep nest
        raise Refused("schema", f"a row that cannot be told from others: {type(error).__name__}") from error


def _number(field: FieldSpec, found: Any) -> float | None:
    """A field's value in its unit; None where it may be left out."""
    if found is None or isinstance(found, Missing):
        if not field.required and not (isinstance(found, Missing) and found.count):
            return None
        raise Refused("schema", f"{field.name}: expected a number, found {_shown(found)}")
    is_text = isinstance(found, str) and len(found) <= MAX_DIGITS and _NUMBER.fullmatch(found.strip()) is not None
    if isinstance(found, bool) or not (is_text or isinstance(found, int | float | Decimal)):
        raise Refused("schema", f"{field.name}: expected a number, found {_shown(found)}")
    try:
        value = float(found) * field.scale
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise Refused("schema", f"{field.name}: expected a finite number, found {_shown(found)}")
    return value


def exact_ns(found: Any, unit: Unit) -> int | None:
    """Nanoseconds since the epoch, UTC, without rounding on the way; None for what is no time of that unit.

    >>> exact_ns(1700000000123, "ms"), exact_ns("1700000000.5", "s"), exact_ns("2023-11-14T22:13:20Z", "iso")
    (1700000000123000000, 1700000000500000000, 1700000000000000000)
    >>> exact_ns(True, "ms"), exact_ns("1e999999999", "s"), exact_ns(-1, "s")
    (None, None, None)
    """
    if isinstance(found, datetime):
        return _of_datetime(found)
    if unit == "iso":
        try:
            return _of_datetime(datetime.fromisoformat(found)) if isinstance(found, str) else None
        except ValueError:
            return None
    if isinstance(found, bool) or not isinstance(found, int | float | str | Decimal):
        return None
    try:
        if isinstance(found, str) and len(found) > MAX_DIGITS:
            return None
        number = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
        if not number.is_finite() or number <= 0 or number.adjusted() > 20:
            return None
        ns = int(number.scaleb(SCALES[unit]))
    except (InvalidOperation, ValueError):
        return None
    return ns if 0 < ns < LAST_NS else None


def _of_datetime(moment: datetime) -> int | None:
    """A time without a zone is UTC."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    ns = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    return ns if 0 < ns < LAST_NS else None


def _shown(found: Any) -> str:
    try:
        text = "nothing" if found is None else repr(found)
    except ValueError:
        return "a number of too many digits"
    return text if len(text) <= 60 else f"{text[:60]}…"
