"""What must be known before an engine exists: the simulated exchange is up, and each venue said what it trades."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from adapters.contract import AdapterError, Venue
from adapters.registry import UnknownVenue, venue_class
from adapters.transport import AiohttpTransport, Transport, TransportError, WebsocketsTransport
from engine.core.types import Instrument
from engine.live.build_instruments import override
from engine.live.config import AppConfig, ConfigError, VenueSection

log = structlog.get_logger("papertape.venues")

START_TIMEOUT_S = 60.0
INSTRUMENTS_TIMEOUT_S = 20.0


class StartError(Exception):
    """The run cannot start; one line says why."""


class Reached(NamedTuple):
    """A venue of the config with its addresses, its transport and its instruments by the venue's own symbol."""

    name: str
    venue: type[Venue]
    transport: Transport
    ws_url: str
    rest_url: str
    instruments: dict[str, Instrument]


class MarketChild:
    """The simulated exchange as a child process; it ends with its parent."""

    def __init__(self, process: asyncio.subprocess.Process, ws_url: str, rest_url: str) -> None:
        self.process = process
        self.ws_url = ws_url
        self.rest_url = rest_url

    @classmethod
    async def start(cls, section: VenueSection) -> MarketChild:
        """Start it on a free port and wait until it listens.

        Raises:
            StartError: it ended or said nothing in time.
        """
        assert section.market is not None
        words = [
            *("--port", "0", "--seed", str(section.market.seed), "--speed", str(section.market.speed)),
            *("--symbols", ",".join(section.symbols), "--json", "--until-stdin-closes"),
        ]
        if section.market.regime_change is not None:
            after_s = section.market.regime_change_after / 1e9
            words += ["--regime-change", section.market.regime_change, "--regime-change-after", str(after_s)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "adapters.market_server",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError as error:
            process.kill()
            raise StartError(f"the simulated exchange did not listen within {START_TIMEOUT_S:.0f} s") from error
        if not line:
            raise StartError(f"the simulated exchange ended at once with code {await process.wait()}")
        told = json.loads(line)
        log.info("simulated exchange is up", rest_url=told["rest_url"])
        return cls(process, told["ws_url"], told["rest_url"])

    async def stop(self) -> None:
        """Ask it to end, and make it end."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(3.0):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


async def reach(name: str, section: VenueSection, child: MarketChild | None) -> Reached:
    """Ask a venue what it trades.

    Raises:
        ConfigError: a venue or symbol that does not exist.
        StartError: the venue does not answer, or not as it documents.
    """
    try:
        venue = venue_class(section.use)
    except UnknownVenue as error:
        raise ConfigError([f"venue.{name}.use: {error}"]) from error
    ws_url = child.ws_url if child else section.ws_url
    rest_url = (child.rest_url if child else section.rest_url) or venue.spec.rest_url
    transport: Transport = AiohttpTransport() if section.transport == "aiohttp" else WebsocketsTransport()
    try:
        url = venue.instruments_url(rest_url)
        listed = venue.parse_instruments(name, await transport.get(url, INSTRUMENTS_TIMEOUT_S))
        instruments = {}
        for symbol in section.symbols:
            if symbol not in listed:
                raise ConfigError([f"venue.{name}.symbols: expected a symbol that the venue lists, found {symbol!r}"])
            where = f"venue.{name}.instruments.{symbol}"
            instruments[symbol] = override(listed[symbol], section.instruments.get(symbol), where)
    except (TransportError, AdapterError) as error:
        await transport.close()
        raise StartError(f"venue {name}: expected its list of instruments, found: {error}") from error
    except ConfigError:
        await transport.close()
        raise
    return Reached(name, venue, transport, ws_url, rest_url, instruments)


def numbered(reached: Sequence[Reached]) -> list[Instrument]:
    """All instruments of a run in the order of the config: their places are the engine's indexes."""
    return [instrument for one in reached for instrument in one.instruments.values()]


def has_market(config: AppConfig) -> bool:
    """Whether the run brings its own exchange."""
    return any(section.market is not None for section in config.venue.values())
