"""What the market did while the daemon was away, asked of the venues before the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from adapters.contract import AdapterError, MissedPage
from adapters.transport import TransportError
from engine.core.desk.missed import MOST_PRINTS
from engine.core.prints import BOOK_VENUE_NS, NUMBERS, NUMBERS_ROOM
from engine.core.types import Instrument
from engine.live.recovery.state import Recovered
from engine.live.venues import Reached

log = structlog.get_logger("papertape.recovery")

TIMEOUT_S: Final = 5.0
PAGES: Final = 20
"""Pages of trades of one symbol; what comes after them is asked for in bars."""

BAR_PAGES: Final = 50


async def ask_missed(reached: Sequence[Reached], past: Recovered, now_ns: int) -> list[dict[str, Any]]:
    """The arguments of a ``missed`` command for each symbol on which orders rest or wait for a trigger.

    What cannot be had is logged.
    A venue's clock is not ours: what it says is placed by how long after the last book that we saw of it it was.
    """
    engine = past.kept.engine
    resting = {order.intent.symbol for order in engine.desk.orders.values() if order.at_venue and not order.ended}
    resting |= {index for index in range(len(engine.instruments)) if engine.desk.watches(index)}
    found = []
    for index in sorted(resting):
        instrument = engine.instruments[index]
        venue = next((one for one in reached if one.name == instrument.venue), None)
        since_ns = int(engine.books.top[index, BOOK_VENUE_NS])
        if venue is None or not since_ns:
            continue
        try:
            page = await _pages(venue, instrument, since_ns, since_ns + now_ns - past.last_ns)
        except (TransportError, AdapterError) as error:
            log.warning(
                "what was missed cannot be had: orders that rested or waited stay as they were",
                symbol=instrument.name,
                error=str(error),
            )
            continue
        if page is None:
            log.info("the venue does not tell what was missed", symbol=instrument.name)
            continue
        shift_ns = past.last_ns - since_ns
        heard = int(engine.books.top[index, NUMBERS : NUMBERS + NUMBERS_ROOM].max())  # behind the last book
        found.append(
            {
                "symbol": instrument.name,
                "prints": [
                    [ns + shift_ns, price, size, side]
                    for ns, price, size, side, number in page.prints
                    if not 0 < number <= heard
                ],
                "bars": [[ns + shift_ns, low, high] for ns, low, high in page.bars],
            }
        )
        log.info("missed", symbol=instrument.name, prints=len(page.prints), bars=len(page.bars))
    return found


async def _pages(venue: Reached, instrument: Instrument, since_ns: int, until_ns: int) -> MissedPage | None:
    """All pages as one; None where the venue has none.

    Raises:
        TransportError, AdapterError: the venue does not answer, or not as it documents.
    """
    url = venue.venue.missed_url(venue.rest_url, instrument.symbol, since_ns, until_ns)
    if not url:
        return None
    whole = MissedPage(prints=[], bars=[])
    for number in range(PAGES + BAR_PAGES):
        if number == PAGES and whole.prints:
            url = venue.venue.missed_bars_url(venue.rest_url, instrument.symbol, whole.prints[-1][0], until_ns)
            if not url:
                break
        body = await venue.transport.get(url, TIMEOUT_S)
        page = venue.venue.parse_missed(url, body, instrument, until_ns)
        whole.prints.extend(page.prints)
        whole.bars.extend(page.bars)
        url = page.more
        if not url or len(whole.prints) + len(whole.bars) >= MOST_PRINTS:
            break
    del whole.prints[MOST_PRINTS:]
    return whole
