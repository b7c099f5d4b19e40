"""One line of a tape: what happened on a connection, before anybody parsed it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EntryKind(StrEnum):
    """What happened; the value is the letter on the tape."""

    OPENED = "o"
    RECEIVED = "r"
    REPLIED = "h"
    TICKED = "t"
    DOUBTED = "d"
    LOST = "l"
    CLOCK = "k"
    COMMAND = "c"
    MODEL = "m"
    PINGED = "p"
    OBSERVED = "s"
    JUDGED = "j"


class Entry(msgspec.Struct, frozen=True):
    """Something that changes state: taped first, then applied, live and in a replay alike.

    ``ns`` is our receive time, ns UTC; ``source`` the venue's name in the config (empty for CLOCK, COMMAND, MODEL,
    OBSERVED, JUDGED). ``token``: REPLIED the token of the ``Fetch``; LOST the reason word of
    ``engine.core.events.REASONS``; DOUBTED the symbol index as text; MODEL and COMMAND the name; OBSERVED and JUDGED
    the side stream. ``data``: RECEIVED and REPLIED the exact bytes; COMMAND the arguments as JSON; MODEL the version
    (SHA-256) as ASCII; PINGED the measured round trip and the delay of market data above its least, ns in decimal
    digits with a space between; OBSERVED and JUDGED as ``adapters.side.taped`` says.
    """

    kind: EntryKind
    ns: int
    source: str
    token: str = ""
    data: bytes = b""
