"""Words to the service manager: ready, alive, stopping, and a line of what is going on (systemd's ``sd_notify``).

A datagram each to the socket that ``NOTIFY_SOCKET`` names; without one, as outside of systemd, nothing is said.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from engine.live.journal import JournalNotWritten
from engine.live.view import LAG_NS, View

STATUS_S: Final = 5.0
"""How often the line is told anew."""

LOOK_S: Final = 0.5
"""How often readiness is looked at, and the longest between two looks at the watchdog."""


class Notify:
    """``watchdog_s``: the manager kills who is silent for so long; None: it does not."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._is_ready = False
        self._is_stopping = False

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int | None = None) -> Notify:
        """As the service manager's environment says; its watchdog only when it is meant for this process.

        >>> Notify.of({"NOTIFY_SOCKET": "/run/s", "WATCHDOG_USEC": "4000000"}).watchdog_s
        4.0
        """
        text, meant = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        is_ours = not meant or meant == str(pid or os.getpid())
        every = int(text) / 1e6 if is_ours and text.isascii() and text.isdigit() and int(text) > 0 else None
        return cls(environment.get("NOTIFY_SOCKET", ""), every)

    def say(self, *words: str) -> None:
        """Send words such as ``READY=1``, none after ``stopping``; a manager that is deaf is none of our business."""
        if not self._address or self._is_stopping:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)  # the loop does not wait for it
            out.sendto("\n".join(words).encode(), self._address)

    def stopping(self, why: str) -> None:
        """The stop begins; from here on its stages have their own limits, and the watchdog is not told any more."""
        if not self._is_stopping:
            self.say("STOPPING=1", f"STATUS=stopping: {_line(why)}")
            self._is_stopping = True

    async def run(self, view: View) -> None:
        """Tell readiness once, the line now and then, and that the daemon lives while it does: these tasks turn only
        with the loop, and say nothing of life when the engine has not looked at the bus.
        """
        if self._address:
            await asyncio.gather(self._tell(view), self._live(view))

    async def _tell(self, view: View) -> None:
        """Readiness and the line: what they rest on is written down first, however slow the disk."""
        loop = asyncio.get_running_loop()
        next_status = loop.time()
        while not self._is_stopping:
            is_ready, problems = view.ready()
            is_new = is_ready and not self._is_ready
            if is_new or loop.time() >= next_status:
                next_status = loop.time() + STATUS_S
                line = _line(status(view, problems))
                try:
                    await view.runner.settled()
                except JournalNotWritten:
                    return  # which ends the daemon, and that is told
                if is_new:
                    self._is_ready = True
                    self.say("READY=1")
                self.say(f"STATUS={line}")
            await asyncio.sleep(LOOK_S)

    async def _live(self, view: View) -> None:
        """The watchdog waits for no disk."""
        while self.watchdog_s is not None and not self._is_stopping:
            if view.lag_ns() < LAG_NS:
                self.say("WATCHDOG=1")
            await asyncio.sleep(min(LOOK_S, self.watchdog_s / 2))


def status(view: View, problems: list[str]) -> str:
    """One line for ``systemctl status``."""
    if problems:
        return f"not ready: {problems[0]}" + (f" and {len(problems) - 1} more" if len(problems) > 1 else "")
    engine = view.runner.engine
    halted = ", halted" if engine.halted else ""
    return f"ready{halted}: {view.runner.processed:,} inputs, {engine.seq:,} facts, {len(engine.desk.orders)} orders"


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
