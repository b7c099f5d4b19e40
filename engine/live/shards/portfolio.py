"""All shards as one: what they hold together, and one kill switch for all.

Each shard tells its gross notional a few times a second, in one script of Redis that adds up all shards', holds the
sum against ``[risk] max_total_notional`` and says whether the run is halted. The key ``halt`` is the switch: a shard
that is halted sets it, one that is resumed takes it away, and so may a person. What a shard is told reaches its engine
as the command ``halt`` or ``resume``: an input like any other, on the tape and in the journal.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final

import structlog

from engine.core.account.money import to_text
from engine.core.engine import Engine
from engine.live.bus import BusFull
from engine.live.runner import Runner
from engine.live.shards.lease import Lease
from engine.live.shards.link import AWAY, Link, StaleOwner
from engine.live.shards.names import Keys

log = structlog.get_logger("papertape.portfolio")

EVERY_S: Final = 0.25

TELL: Final = """
local newest = redis.call('GET', KEYS[1])
if newest and tonumber(newest) > tonumber(ARGV[1]) then return {'STALE', newest} end
local shard, limit, word, reason, halted = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
if word == 'resume' then redis.call('DEL', KEYS[3]) end
local is_known = redis.call('HGET', KEYS[2], shard)
if word == 'halt' or (halted == '1' and not is_known) then redis.call('SET', KEYS[3], reason, 'NX') end
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
    """One shard's part in it; ``limit`` 0 is none."""

    def __init__(self, link: Link, lease: Lease, keys: Keys, limit: Decimal) -> None:
        self._link = link
        self._lease = lease
        self._keys = [lease.fence, keys.key("portfolio"), keys.key("halt")]
        self._limit = format(limit, "f")
        self._last: bool | None = None
        self._expected: bool | None = None
        self._told: tuple[bool, dict[str, str]] | None = None
        self._settling: asyncio.Task[tuple[bool, dict[str, str]]] | None = None

    def expect(self, *, halted: bool) -> None:
        """The engine is being halted for a reason of this shard alone: the others need not."""
        self._expected = halted

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
        """Once: say what we hold and whether we are halted, and obey what holds for all."""
        engine = runner.engine
        halted, what = await self._shown(runner)
        word = self._changed(halted)
        held = [text for pair in what.items() for text in pair]
        reason = f"{self._lease.what} is halted"
        answer = await self._link.script(
            TELL, self._keys, self._lease.token, self._lease.what, self._limit, word, reason, int(halted), *held
        )
        if answer[0] == b"STALE":
            raise StaleOwner(f"{self._lease.what} of this run is owned by token {answer[1].decode()} now")
        if word:
            log.info("told all shards", what=word)
        self._last = halted
        wanted = bool(answer[1])
        if engine.halted == halted != wanted and self._expected is None:
            if wanted:
                runner.command("halt", {"reason": answer[1].decode()})
            else:
                runner.command("resume")
            self._expected = wanted

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

    def _changed(self, halted: bool) -> str:
        """What the others must hear: that somebody halted or resumed this engine."""
        if self._expected is not None:
            if halted == self._expected:
                self._expected = None
            return ""
        if self._last is None or halted == self._last:
            return ""
        return "halt" if halted else "resume"


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
