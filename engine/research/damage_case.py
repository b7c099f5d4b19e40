"""One damaged journal: what must come of it, and what did when the run was started as a daemon starts it."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from adapters.plain import Plain
from engine.live.config import ConfigError
from engine.live.journal import JournalDamaged, JournalNotWritten, Kind, Position, scan_tail
from engine.live.journal.segments import segment_path
from engine.live.recovery.code_print import code_print, modules_of
from engine.live.recovery.recover import Past
from engine.live.recovery.session import Opened, open_as
from engine.live.recovery.state import RecoveryError
from engine.live.statedir import StateDir
from engine.research.damage_run import BTC, Made, Span, account, config

AGAIN_EVERY: Final = 16
"""Of so many starts one is started once more, as by the session after."""

TOLD: Final = 20
"""Of what is wrong so many are told in words."""


class Case(NamedTuple):
    """A damage: the journal ends at byte ``place`` of a segment, or ``bit`` (0 to 7) of that byte is another."""

    segment: int
    place: int
    bit: int | None = None


class Expected(NamedTuple):
    """What must come: a refusal with its place, or a start with so many inputs whose journal goes on at ``end``.

    ``inputs`` and ``facts`` of before had begun in the bytes that are left, whole or not.
    """

    refused: Position | None
    whole: int
    end: Position
    inputs: int
    facts: int


class Tally(msgspec.Struct):
    """How cases came out; what is wrong is counted from ``wrong_balance`` on, and zero where the claim holds.

    Missing is what had begun in the bytes that were left and was not there after the start; completed are facts that
    followed from their input once more. ``wrong_outcome``: started where it must refuse, or refused without reason.
    ``wrong_place``: refused, cut or gone on elsewhere than at the damaged frame.
    """

    cuts: int = 0
    flips: int = 0
    refused: int = 0
    started: int = 0
    started_again: int = 0
    most_inputs_missing: int = 0
    most_facts_missing: int = 0
    most_facts_completed: int = 0
    wrong_balance: int = 0
    wrong_digest: int = 0
    wrong_place: int = 0
    wrong_outcome: int = 0
    wrong_again: int = 0
    changed_by_refusal: int = 0
    told: list[str] = []

    @property
    def holds(self) -> bool:
        """Whether all came out as it must: the account of before, at most one record missing, or the exact place."""
        wrong = [self.wrong_balance, self.wrong_digest, self.wrong_place, self.wrong_outcome, self.wrong_again]
        is_whole = self.refused + self.started == self.cuts + self.flips
        missing = self.most_inputs_missing + self.most_facts_missing
        return is_whole and missing <= 1 and not any(wrong) and not self.changed_by_refusal

    def add(self, other: Tally) -> None:
        """Count another's cases too."""
        for name in self.__struct_fields__:
            mine, its = getattr(self, name), getattr(other, name)
            setattr(self, name, max(mine, its) if name.startswith("most_") else mine + its)
        del self.told[TOLD:]


def cases(made: Made, cut_step: int, flip_step: int) -> list[Case]:
    """Every cut and every bit, or one in so many; a segment of which nothing is left is one without its file too."""
    cuts = [Case(one.segment, place) for one in made.cuts for place in range(one.begin, one.end)]
    cuts += [Case(one.segment, one.end) for one in made.cuts[:-1]]
    bits = [
        Case(one.segment, place, bit) for one in made.flips for place in range(one.begin, one.end) for bit in range(8)
    ]
    return cuts[::cut_step] + bits[::flip_step]


class Bench:
    """A folder in which one run is damaged and started, again and again."""

    def __init__(self, made: Made, folder: Path) -> None:
        settings = config(made.segment_bytes)
        self.made = made
        self._run = folder / "damage"
        self._now = Past(settings, [BTC], {"v": Plain}, code_print(modules_of(settings)))
        self._starts = 0
        self._begins = [(span.segment, span.begin) for span in made.spans]
        for name, data in made.files.items():
            path = self._run / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self._journal = self._run / "journal"
        self._whole = {one.name: (self._run / "journal" / one.name).read_bytes() for one in self._journal.iterdir()}

    def judge(self, case: Case, tally: Tally) -> None:
        """Damage the journal, start the run, and hold what came against what must come."""
        expected, left = self.expected(case), self._damage(case)
        if case.bit is None:
            tally.cuts += 1
        else:
            tally.flips += 1
        try:
            with StateDir(self._run) as state:
                opened = open_as(state, self._now)
                try:
                    self._judge_start(case, opened, expected, tally)
                finally:
                    opened.journal.close()
        except JournalDamaged as damage:
            tally.refused += 1
            self._judge_refusal(case, damage, expected, left, tally)
            return
        except (RecoveryError, ConfigError, JournalNotWritten) as error:
            tally.refused += 1
            tally.wrong_outcome += 1
            self._tell(case, f"expected a start or the place of the damage, found: {error}", tally)
            return
        tally.started += 1
        self._starts += 1
        if expected.refused is None:
            self._judge_end(case, expected, tally)

    def expected(self, case: Case) -> Expected:
        """What must come of a damage, by where frames begin and end."""
        spans = self.made.spans
        at = bisect_right(self._begins, (case.segment, case.place)) - 1
        span = spans[at]
        if case.bit is not None:
            if span is spans[-1]:
                return self._start(at, len(spans))
            if self._is_unread(span):
                return self._start(len(spans), len(spans))
            return self._start(at, len(spans))._replace(refused=Position(span.segment, span.begin))
        is_between = case.place == span.begin and span.kind != ""
        if span.kind in ("", Kind.HEADER):  # the file got its name when it had a header
            return self._start(at, at + 1)._replace(refused=Position(span.segment, span.begin))
        if case.place >= span.end:  # behind the last frame of a segment whose next is gone
            return self._start(at + 1, at + 1)
        return self._start(at, at + (not is_between))

    def _start(self, whole: int, begun: int) -> Expected:
        """A start with so many whole spans, where so many had begun."""
        kept, seen = self.made.spans[:whole], self.made.spans[:begun]
        end = Position(kept[-1].segment, kept[-1].end) if kept else Position(1, 0)
        inputs, facts = (sum(span.kind == kind for span in seen) for kind in (Kind.INPUT, Kind.FACT))
        return Expected(None, sum(span.kind == Kind.INPUT for span in kept), end, inputs, facts)

    def _is_unread(self, span: Span) -> bool:
        """Whether no start looks at a frame: before the snapshot, in a sealed segment, and not what says that it is."""
        snapshot = self.made.snapshot
        is_sealed = span.segment < self.made.spans[-1].segment and span.kind not in ("", Kind.END)
        return is_sealed and snapshot is not None and Position(span.segment, span.end) <= snapshot

    def _damage(self, case: Case) -> dict[str, bytes]:
        """Bring the journal to what it is after the damage; the bytes of its files."""
        name = segment_path(self._journal, case.segment).name
        data = self._whole[name]
        if case.bit is None:
            left = {other: whole for other, whole in self._whole.items() if other < name} | {name: data[: case.place]}
        else:
            flipped = bytes([data[case.place] ^ 1 << case.bit])
            left = self._whole | {name: data[: case.place] + flipped + data[case.place + 1 :]}
        for path in self._journal.iterdir():
            if path.name not in left:
                path.unlink()
        for other, content in left.items():
            (self._journal / other).write_bytes(content)
        return left

    def _judge_refusal(
        self, case: Case, damage: JournalDamaged, expected: Expected, left: dict[str, bytes], tally: Tally
    ) -> None:
        found = {path.name: path.read_bytes() for path in self._journal.iterdir()}
        if found != left:
            tally.changed_by_refusal += 1
            self._tell(case, f"expected a refusal to change nothing, found {sorted(found)} changed", tally)
        if expected.refused is None:
            tally.wrong_outcome += 1
            self._tell(case, f"expected a start with {expected.whole} inputs, found: {damage}", tally)
        elif (damage.path, damage.offset) != (
            str(segment_path(self._journal, expected.refused.segment)),
            expected.refused.offset,
        ):
            tally.wrong_place += 1
            self._tell(case, f"expected a refusal at {expected.refused}, found: {damage}", tally)

    def _judge_start(self, case: Case, opened: Opened, expected: Expected, tally: Tally) -> None:
        past, journal = opened.past, opened.journal
        if past is None or expected.refused is not None:
            tally.wrong_outcome += 1
            self._tell(case, f"expected {expected}, found that it started {'anew' if past is None else ''}", tally)
            return
        noted, engine = self.made.noted[expected.whole - 1], past.kept.engine
        inputs = self.made.sessions[past.session - 1] + past.tape_entries
        tally.most_inputs_missing = max(tally.most_inputs_missing, expected.inputs - inputs)
        tally.most_facts_missing = max(tally.most_facts_missing, expected.facts - engine.seq)
        tally.most_facts_completed = max(tally.most_facts_completed, past.told.completed)
        if (engine.digest, engine.seq) != (noted.digest, noted.seq):
            tally.wrong_digest += 1
            self._tell(case, f"expected digest {noted.digest} at fact {noted.seq}, found {engine.seq}", tally)
        if (found := account(past.kept)) != noted.account:
            tally.wrong_balance += 1
            self._tell(case, f"expected {noted.account.decode()}, found {found.decode()}", tally)
        cut = journal.cut.position if journal.cut is not None else None
        is_torn = (
            expected.end != Position(case.segment, case.place)
            if case.bit is None
            else expected.whole < len(self.made.noted)
        )
        if inputs != expected.whole or (cut != expected.end if is_torn else cut is not None):
            tally.wrong_place += 1
            self._tell(
                case, f"expected {expected.whole} inputs and a cut at {expected.end}, found {inputs}, {cut}", tally
            )

    def _judge_end(self, case: Case, expected: Expected, tally: Tally) -> None:
        """What the start left must be a whole journal; of some, another start must find the same in it."""
        noted = self.made.noted[expected.whole - 1]
        tail = scan_tail(self._journal)
        if tail is None or tail.cut is not None or tail.last_seq != noted.seq:
            tally.wrong_again += 1
            self._tell(case, f"expected a whole journal of {noted.seq} facts after the start, found {tail}", tally)
        elif self._starts % AGAIN_EVERY == 0:
            with StateDir(self._run) as state:
                opened = open_as(state, self._now)
                past = opened.past
                opened.journal.close()
            tally.started_again += 1
            if past is None or past.told.completed or account(past.kept) != noted.account:
                tally.wrong_again += 1
                self._tell(
                    case, f"expected the account of {noted.seq} facts at the next start too, found {past}", tally
                )

    def _tell(self, case: Case, text: str, tally: Tally) -> None:
        if len(tally.told) < TOLD:
            tally.told.append(f"{self.made.name}, {case}: {text}")
