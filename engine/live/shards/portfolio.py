"""All shards as one: what they hold together, and one kill switch for all.

Each shard tells its gross notional a few times a second, in one script of Redis that adds up all shards', holds the
sum against ``[risk] max_total_notional`` and says whether the run is halted. The key ``halt`` is the switch: a shard
that is halted sets it, one that is resumed takes it away, and so may a person. What a shard is told reaches its engine
as the command ``halt`` or ``resume``: an input like any other, on the tape and in the journal.

A word that a person gave to this shard and one that came from the others look alike in the engine's state, and either
may come while the other is under way. So words are told apart as facts, by who gave them, and not by comparing states:
a resume right behind a halt of all is heard as what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import structlog

from engine.core.account.money import to_text
from engine.core.engine import Engine
from engine.core.records import Commanded, Record
from engine.live.bus import BusFull
from engine.live.runner import Runner
from engine.live.shards.lease import Lease
from engine.live.shards.link import AWAY, Link, StaleOwner
from engine.live.shards.names import Keys

log = structlog.get_logger("papertape.portfolio")

EVERY_S: Final = 0.25
AWAY_REASON: Final = "redis is away"
WORDS: Final = ("halt", "resume")
FIRST: Final = "first"
"""No word yet: a halt that a killed process had obeyed and not told is told now, so that no start lifts it."""

BY: Final = "by"
"""The argument that says whose a word is; a person's has none."""

SHARDS: Final = "shards"
"""Of a word that is not for the others: it came from them, or is of this shard's own way to Redis."""

TELL: Final = """
local newest = redis.call('GET', KEYS[1])
if newest and tonumber(newest) > tonumber(ARGV[1]) then return {'STALE', newest} end
local shard, limit, word, reason, halted = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
if word == 'resume' then redis.call('DEL', KEYS[3]) end
local was = redis.call('HGET', KEYS[2], shard)
local is_untold = halted == '1' and (not was or (word == 'first' and was == '0'))
if word == 'halt' or is_untold then redis.call('SET', KEYS[3], reason, 'NX') end
redis.call('HSET', KEYS[2], shard, halted)
for at = 7, #ARGV, 2 do redis.call('HSET', KEYS[2], shard .. ' ' .. ARGV[at], ARGV[at + 1]) end
if limit > 0 then
  local all, totals = redis.call('HGETALL', KEYS[2]), {}
  for at = 1, #all, 2 do
    local currency = string.match(all[at], ' (.+)$')
    if currency then totals[currency] = (totals[currency] or 0) + tonumber(all[at + 1]) end
  end
  for currency, total in pairs(totals) do
    if total > limit then
      local text = 'max_total_notional: expected at most ' .. ARGV[3] .. ' over all shards, found '
      redis.call('SET', KEYS[3], text .. string.format('%.2f', total) .. ' ' .. currency, 'NX')
    end
  end
end
return {'OK', redis.call('GET', KEYS[3]) or ''}
"""


class Portfolio:
    """One shard's part in it; ``limit`` 0 is none. ``attach`` comes before the first input."""

    def __init__(self, link: Link, lease: Lease, keys: Keys, limit: Decimal) -> None:
        self._link = link
        self._lease = lease
        self._keys = [lease.fence, keys.key("portfolio"), keys.key("halt")]
        self._limit = format(limit, "f")
        self._word = FIRST  # a person's last word to this shard that the others do not know of yet
        self._unsafe = 0  # words of a person that are on their way to a slow disk
        self._is_asked = False  # a word of ours is on its way to the engine
        self._told: tuple[bool, dict[str, str]] | None = None
        self._settling: asyncio.Task[tuple[bool, dict[str, str]]] | None = None

    def attach(self, runner: Runner) -> None:
        """Hear every word that the engine obeys, and again when it is as safe as what is shown."""
        runner.inside.append(self._hear)
        runner.sinks.append(self._safe)

    def command(self, runner: Runner, name: str, reason: str = "") -> None:
        """Give our engine a word that is not for the others.

        Raises:
            BusFull: the engine is far behind; nothing was done.
        """
        runner.command(name, {"reason": reason, BY: SHARDS} if reason else {BY: SHARDS})
        self._is_asked = True

    async def run(self, runner: Runner) -> None:
        """Tell and hear until cancelled; while Redis is away nothing is told and nothing changes.

        Raises:
            StaleOwner: another process owns the shard now.
        """
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.tell(runner)
            except AWAY as error:
                log.debug("redis is away", error=str(error))
            except BusFull as error:
                log.warning("command refused; tried again", error=str(error))

    async def tell(self, runner: Runner) -> None:
        """Once: say what we hold and a person's word to us, and obey what holds for all.

        Raises:
            StaleOwner: another process owns the shard now.
            BusFull: the engine is far behind; it obeys later.
        """
        halted, what = await self._shown(runner)
        word = self._word
        said = "" if word == FIRST and runner.engine.risk.halt_reason == AWAY_REASON else word
        held = [text for pair in what.items() for text in pair]
        reason = f"{self._lease.what} is halted"
        answer = await self._link.script(
            TELL, self._keys, self._lease.token, self._lease.what, self._limit, said, reason, int(halted), *held
        )
        if answer[0] == b"STALE":
            raise StaleOwner(f"{self._lease.what} of this run is owned by token {answer[1].decode()} now")
        if word in WORDS:
            log.info("told all shards", what=word)
        runner.commit()  # with it is heard what the engine obeyed while Redis answered
        if self._word != word:
            return  # a newer word of a person: the answer does not know of it
        self._word = ""
        wanted = bool(answer[1])
        if runner.engine.halted != wanted and not self._unsafe and not self._is_asked:
            self.command(runner, "halt" if wanted else "resume", answer[1].decode())

    def _hear(self, records: Sequence[Record]) -> None:
        for fact in _words(records):
            if fact.args.get(BY) == SHARDS:
                self._is_asked = False
            else:
                self._unsafe += 1

    def _safe(self, records: Sequence[Record]) -> None:
        for fact in _words(records):
            if fact.args.get(BY) != SHARDS:
                self._unsafe -= 1
                self._word = fact.name

    async def _shown(self, runner: Runner) -> tuple[bool, dict[str, str]]:
        """Whether we are halted and what we hold: the newest that may be shown. A slow disk delays it, and not the
        word of the others, which is heard all the same."""
        if not runner.waits_for_disk:
            runner.commit()
            return runner.engine.halted, gross(runner.engine)
        if self._settling is None:
            self._settling = asyncio.create_task(_settled(runner), name="portfolio waits for the disk")
        if self._told is None or self._settling.done():
            self._told, self._settling = await self._settling, None
        return self._told


def _words(records: Sequence[Record]) -> Iterator[Commanded]:
    """The halts and resumes among facts."""
    for record in records:
        if isinstance(record.fact, Commanded) and record.fact.name in WORDS:
            yield record.fact


async def _settled(runner: Runner) -> tuple[bool, dict[str, str]]:
    picture = runner.engine.halted, gross(runner.engine)
    await runner.settled()
    return picture


def gross(engine: Engine) -> dict[str, str]:
    """The notional of all positions, long and short alike, at the middle of their books or the last mark: exact text by
    the currency that they are counted in."""
    found: dict[str, int] = {instrument.counted_in: 0 for instrument in engine.instruments}
    for symbol, instrument in enumerate(engine.instruments):
        size = abs(engine.ledger.position(symbol))
        book = engine.book_views[symbol]
        price2 = book.bid + book.ask if book.bid and book.ask else engine.ledger.mark2(symbol)
        if size:
            found[instrument.counted_in] += engine.ledger.worth[symbol].notional2(price2, size) // 2
    return {currency: to_text(value) for currency, value in found.items()}
