"""How true the run's fills are, told as it goes: grades, twin accounts, markouts, shortfall and the fill-truth score.

The desk tells it what happens: an order was *sent*, a *twin* was filled, the venue *did* something (at once, before
anybody hears of it), an owner is *told*, the ledger *booked* it, a book fell in doubt. It answers with what a ``Fill``
carries beyond price and size, and with facts of its own. It never changes what an order meets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.core.account.ledger import Ledger
from engine.core.account.treasury import Treasury
from engine.core.book import ASK, BID, IS_READY
from engine.core.desk.orders import CLOSING, Working
from engine.core.desk.risk import Intent
from engine.core.due import Handler
from engine.core.honesty.grades import BACK, CAUSES, CERTAIN, DOUBT, GONE, LEFT, PASSED, SURE_CAUSES, grade, regrade
from engine.core.honesty.markouts import Mark, Markouts, mid2_of, place
from engine.core.honesty.shortfall import Shortfalls
from engine.core.honesty.truth import FRONT, Answer, Fate, Score
from engine.core.honesty.twins import Twins
from engine.core.records import AnyFact, Cancelled, Expired, Regraded, Rejected, TwinAccount, TwinFill
from engine.core.state import State
from engine.core.types import Instrument
from engine.core.venue.paper_settings import PaperSettings
from engine.core.venue.resting import ASSUMED, BEYOND, TAKEN, Match, TwinMatch

NOT_OPEN = SURE_CAUSES | {BEYOND, ASSUMED}
"""Causes of fills that nothing later speaks for or against."""

ENDS = (Cancelled, Expired, Rejected)
"""The words with which the venue is done with an order."""

MAX_FOLLOWED = 65_536
"""Fills and ended orders that are followed to their last horizon at once."""


class Honesty:
    """All that is said of the truth of fills, and the fates of the orders that it is said of."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: PaperSettings,
        state: State,
        treasury: Treasury,
        emit: Callable[[AnyFact], None],
        schedule: Callable[[int, str, object], None],
    ) -> None:
        self.score = Score()

        cash = treasury.ledger.cash()

        def new_account() -> Treasury:
            ledger = Ledger(instruments, cash)
            ledger.follow_marks(treasury.ledger)
            return Treasury(instruments, settings, state.books, ledger)

        self.twins = Twins(
            state.lane_names,
            settings.queue.rule,
            new_account,
            room=MAX_FOLLOWED,
            mark2=treasury.mark2,
            schedule=schedule,
        )
        self.shortfalls = Shortfalls(instruments, treasury)
        self.markouts = Markouts(
            tuple(instruments), state.books.top, MAX_FOLLOWED, emit, schedule, on_missed=self._missed_moved
        )
        self.handlers: dict[str, Handler] = {
            "markout": self.markouts.due,
            "settle": self._settle,
            "hedge": self.twins.due,
        }
        self._names = tuple(instrument.name for instrument in instruments)
        self._ledger = treasury.ledger
        self._top: memoryview[int] = state.books.top.data
        self._explain_ns = settings.explain_ns
        self._grace_ns = settings.queue.twin_grace_ns  # a fill stays open as long as the twins of its order live on
        self._emit = emit
        self._schedule = schedule
        self._fates: dict[int, Fate] = {}
        self._open: deque[tuple[int, Fate, Answer | None]] = deque()  # until when, whose, what

    # What the desk says.

    def sent(self, order: Working) -> None:
        """An order left; the mid of this moment is its arrival price."""
        intent = order.intent
        self._fates[intent.order] = Fate(order, mid2_of(self._top, intent.symbol), order.out_ns + order.feed_ns)
        row = self.shortfalls.of(intent.strategy, intent.symbol)
        row.orders += 1
        row.sent_size += intent.size

    def twins_did(self, matches: Sequence[TwinMatch]) -> None:
        """Other models filled orders; of one frame the twins come before the venue's own."""
        known: list[tuple[TwinMatch, Intent]] = []
        for match in matches:
            fate = self._fates.get(match.order)
            if fate is None:
                continue
            known.append((match, fate.order.intent))
            if FRONT in match.models:
                fate.twin(FRONT, match.size, match.ns)
            if BACK in match.models:
                fate.twin(BACK, match.size, match.ns)
                self._supported(fate, match.ns)
        for match, intent in known:
            terms = (match.price, match.size)
            self.twins.filled(match.models, intent.strategy, intent.symbol, intent.side, *terms, match.ns)
            name, models = self._names[intent.symbol], list(match.models)
            cause = CAUSES[match.cause]
            self._emit(TwinFill(match.order, intent.strategy, name, intent.side, models, *terms, cause, match.ns))

    def _supported(self, fate: Fate, ns: int) -> None:
        for answer in [one for one in fate.answers if one.cum <= fate.filled[BACK]]:
            answer.back_ns = answer.back_ns or ns
            if answer.grade != CERTAIN:
                self._regrade(fate, answer, BACK)

    def _gone(self, fate: Fate, now_ns: int) -> None:
        """What the order filled just now, its level may not have answered yet: who is gone by then seldom had it."""
        for answer in [one for one in fate.answers if not one.is_settled and now_ns - one.ns <= self._explain_ns]:
            self._regrade(fate, answer, GONE)

    def did(self, words: Sequence[Match | AnyFact], now_ns: int) -> None:
        """What the venue just did, whenever the owner hears of it."""
        for word in words:
            fate = self._fates.get(getattr(word, "order", 0))
            if fate is None:
                continue
            if isinstance(word, Match):
                self._filled(fate, word, now_ns)
            elif isinstance(word, ENDS):
                fate.has_ended = True
                self._gone(fate, now_ns)
                if not isinstance(word, Rejected) and word.left:
                    self._missed(fate, word.left, now_ns)
                self._drop(fate)

    def told(self, match: Match) -> Answer | None:
        """The owner hears of a fill: what is known of it by now; None for an order that nobody said was sent."""
        fate = self._fates.get(match.order)
        if fate is None:
            return None
        answer = fate.answers[0]
        if answer.is_told:
            answer = next(one for one in fate.answers if not one.is_told)
        answer.is_told = True
        self._drop(fate)
        return answer

    def booked(self, order: Working, match: Match, fee: int, currency: str, now_ns: int) -> None:
        """The run's ledger took a fill that came at ``now_ns``, and its fee at 1e-30."""
        intent = order.intent
        terms = (intent.strategy, intent.symbol, intent.side, match.price, match.size)
        if match.is_maker:
            self.twins.filled((self.twins.own,), *terms, now_ns)
        else:
            self.twins.taken(*terms, now_ns)
        fate = self._fates.get(intent.order)
        self.shortfalls.filled(
            *terms, arrival2=fate.arrival2 if fate else 0, is_maker=match.is_maker, fee=fee, currency=currency
        )

    def doubted(self, symbol: int) -> None:
        """The book is not to be trusted: what rests there becomes unsure."""
        for fate in self._fates.values():
            if fate.order.intent.symbol == symbol and fate.order.at_venue:
                fate.is_unsure = True

    def splits(self, symbol: int) -> None:
        """The symbol's prices are about to mean another share: value what waits, and look at no mark of it again."""
        self.markouts.void(symbol)
        self.twins.value(symbol)

    def record_accounts(self) -> None:
        """Tell the twin accounts that moved."""
        for strategy in dict.fromkeys(strategy for strategy, _ in self.shortfalls.rows):
            for currency, profits, hedged in self.twins.changed(self._ledger, strategy):
                self._emit(TwinAccount(strategy, currency, profits, hedged))

    def finish(self) -> None:
        """The run ends: tell what is known of what is still followed."""
        self.markouts.finish()
        self.record_accounts()

    def plain(self, measured: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Score, band, markouts and shortfalls as plain values; ``measured``: see ``Score.plain``."""
        return {
            "truth": self.score.plain(measured),
            "band": self.twins.band(self._ledger),
            "markouts": self.markouts.plain(),
            "execution": self.shortfalls.plain(),
            "markouts_left_out": self.markouts.left_out,
        }

    # What follows.

    def _filled(self, fate: Fate, match: Match, now_ns: int) -> None:
        order, intent = fate.order, fate.order.intent
        fate.count += 1
        fate.own += match.size
        if not match.is_maker:
            # What the impact law gave beyond the display is the optimist's alone, and nothing settles it later.
            for model in (FRONT, BACK) if match.cause == TAKEN else (FRONT,):
                fate.twin(model, match.size, now_ns)
        back_ns = fate.reached_ns(BACK, fate.own)
        is_leaving = order.state == CLOSING
        word = grade(match.cause, match.chance, back_ns > 0, is_unsure=fate.is_unsure, is_leaving=is_leaving)
        answer = Answer(
            number=fate.count,
            cum=fate.own,
            price=match.price,
            mid2=mid2_of(self._top, intent.symbol),
            grade=word,
            front_ns=fate.reached_ns(FRONT, fate.own),
            back_ns=back_ns,
            latency_ns=fate.latency_ns,
            ns=now_ns,
            is_settled=match.cause in NOT_OPEN or (word == CERTAIN and order.venue_left == 0),
        )
        fate.answers.append(answer)
        fate.forget_steps()
        self.score.add(word, match.chance, is_unsure=fate.is_unsure)
        if fate.count == 1:
            self.shortfalls.of(intent.strategy, intent.symbol).touched += 1
        self.markouts.follow(
            Mark(
                order=intent.order,
                number=fate.count,
                strategy=intent.strategy,
                symbol=intent.symbol,
                side=intent.side,
                price2=2 * match.price,
                size=match.size,
                ns=now_ns,
                place=place(match.is_maker, match.ahead, intent.size),
                grade=word,
            )
        )
        if not answer.is_settled:
            self._keep(now_ns, fate, answer)
        if order.venue_left == 0:
            if back_ns:
                fate.has_ended = True  # the pessimist has as much, so there is nothing left for any twin
            else:
                self._keep(now_ns, fate, None)  # its twins live on

    def _keep(self, now_ns: int, fate: Fate, answer: Answer | None) -> None:
        until_ns = now_ns + self._grace_ns + 1
        if len(self._open) >= MAX_FOLLOWED:
            self._last_word(*self._open.popleft()[1:])
        if not self._open:
            self._schedule(until_ns, "settle", None)
        self._open.append((until_ns, fate, answer))

    def _settle(self, _: object, ns: int) -> None:
        """The grace of the oldest open fills is over: what the book says now is the last word."""
        while self._open and self._open[0][0] <= ns:
            self._last_word(*self._open.popleft()[1:])
        if self._open:
            self._schedule(self._open[0][0], "settle", None)

    def _last_word(self, fate: Fate, answer: Answer | None) -> None:
        if answer is None:
            fate.has_ended = True
        elif not answer.is_settled:
            answer.is_settled = True
            reason = self._evidence(fate, answer) if answer.grade != CERTAIN else ""
            if reason:
                self._regrade(fate, answer, reason)
        self._drop(fate)

    def _evidence(self, fate: Fate, answer: Answer) -> str:
        intent = fate.order.intent
        if fate.is_unsure:
            return DOUBT
        top, symbol = self._top, intent.symbol
        bid, ask = top[symbol, BID], top[symbol, ASK]
        own, other = (bid, ask) if intent.side > 0 else (ask, bid)
        if not top[symbol, IS_READY] or not own or not other:
            return ""
        if (answer.price - other) * intent.side >= 0:
            return PASSED
        return LEFT if (own - answer.price) * intent.side > 0 else ""

    def _regrade(self, fate: Fate, answer: Answer, reason: str) -> None:
        before, answer.grade = answer.grade, regrade(answer.grade, reason)
        answer.is_settled = True
        self.score.regrade(before, answer.grade, reason)
        if answer.is_told:
            self._emit(Regraded(fate.order.intent.order, answer.number, answer.grade, reason))
        self._drop(fate)

    def _drop(self, fate: Fate) -> None:
        while fate.answers and fate.answers[0].is_told and fate.answers[0].is_settled:
            fate.answers.popleft()
        if fate.is_over:
            self._fates.pop(fate.order.intent.order, None)

    def _missed(self, fate: Fate, left: int, now_ns: int) -> None:
        intent = fate.order.intent
        row = self.shortfalls.of(intent.strategy, intent.symbol)
        row.missed += 1
        row.missed_size += left
        if mid2 := mid2_of(self._top, intent.symbol):
            self.markouts.follow(
                Mark(intent.order, 0, intent.strategy, intent.symbol, intent.side, mid2, left, now_ns, "", "")
            )

    def _missed_moved(self, mark: Mark, at: int, mid2: int) -> None:
        self.shortfalls.moved(mark.strategy, mark.symbol, mark.side, at, mark.price2, mid2, mark.size)
