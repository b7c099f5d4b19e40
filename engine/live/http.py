"""The daemon's page, its state as JSON, its metrics, and commands: one small server on loopback.

Against a hostile page in the operator's browser: a command wants ``Content-Type: application/json`` (a form cannot send
that, and no other origin is ever allowed), an ``Origin`` that is this server's own where there is one, and every answer
that tells something of the run wants a ``Host`` that is loopback or named in the config, so that a foreign name which
was pointed here (DNS rebinding) gets nothing. ``/health``, ``/ready`` and ``/metrics`` answer any host: a scraper in a
container calls the daemon by its own name for it.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from engine.live.blackbox.index import BoxError
from engine.live.bus import BusFull
from engine.live.journal import JournalNotWritten
from engine.live.measures import measure
from engine.live.metrics import CONTENT_TYPE, Exporter
from engine.live.registry.shelf import RegistryError
from engine.live.view import View

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "halt": frozenset({"reason"}),
    "resume": frozenset(),
    "flatten": frozenset({"strategy"}),
    "reload": frozenset({"strategy"}),
    "promote": frozenset({"contest", "model"}),
    "rollback": frozenset({"contest"}),
}
"""What may be commanded, each with the arguments it takes; all of them are text, optional but for contests."""

OPEN_TO_ANY_HOST: Final = frozenset({"/health", "/ready", "/metrics"})

ASSETS: Final = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/books.js": ("books.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/format.js": ("format.js", "text/javascript"),
    "/memory.js": ("memory.js", "text/javascript"),
    "/models.js": ("models.js", "text/javascript"),
    "/table.js": ("table.js", "text/javascript"),
    "/truth.js": ("truth.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

ANY_ADDRESS: Final = {"0.0.0.0", "::", ""}
"""Hosts to listen on that are no name to be called by."""

MAX_BODY: Final = 65_536
STOP_S: Final = 2.0


class HttpError(RuntimeError):
    """The server cannot start; the text is one line that says why and what to do."""


class HttpServer:
    """``command(name, args)`` takes a user's word and raises ``BusFull`` when it cannot.

    ``pack`` writes a black box and gives its path. ``card`` reads the card of a model's version, or of a model.

    ``hosts`` are names and addresses besides loopback and ``host`` by which a browser may call this server. Port 0
    takes a free one; ``start`` says which.
    """

    def __init__(
        self,
        view: View,
        command: Callable[[str, Mapping[str, Any]], None],
        host: str = "127.0.0.1",
        port: int = 8600,
        *,
        hosts: Collection[str] = (),
        pack: Callable[[str], Awaitable[str]] | None = None,
        card: Callable[[str], Mapping[str, Any]] | None = None,
    ) -> None:
        self._view = view
        self._command = command
        self._pack = pack
        self._card = card
        self._host = host
        self._port = port
        self._hosts = {name.lower() for name in (host, *hosts)} - ANY_ADDRESS
        self._exporter = Exporter()
        self._runner: web.AppRunner | None = None
        folder = files("engine") / "web"
        self._assets = {path: (folder / name).read_bytes() for path, (name, _) in ASSETS.items()}

    async def start(self) -> str:
        """Listen; returns the address as a URL.

        Raises:
            HttpError: the port is taken, may not be used, or the host is not of this machine.
        """
        app = web.Application(middlewares=[_guarded(self._hosts, self._view.runner.commit)], client_max_size=MAX_BODY)
        app.on_response_prepare.append(_add_headers)
        app.add_routes(self._routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise HttpError(_problem(self._host, self._port, error)) from error
        self._runner = runner
        address = runner.addresses[0]
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"http://{host}:{address[1]}"

    async def stop(self) -> None:
        """Stop listening and end what is open; may be called twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _routes(self) -> list[web.RouteDef]:
        view = self._view
        plain: dict[str, Callable[[], Any]] = {
            "/summary": view.summary,
            "/fills": view.fills,
            "/orders": lambda: view.runner.engine.status()["working_orders"],
            "/positions": view.positions,
            "/models": view.model_summaries,
            "/why": view.why,
            "/truth": view.truth,
        }
        return [
            *(web.get(path, self._asset) for path in ASSETS),
            *(web.get(path, _answering(read)) for path, read in plain.items()),
            web.get("/health", self._health),
            web.get("/ready", self._ready),
            web.get("/metrics", self._metrics),
            web.get("/state", self._state),
            web.get("/models/{version}", self._model),
            web.post("/command/{name}", self._commanded),
            web.post("/blackbox", self._packed),
        ]

    async def _asset(self, request: web.Request) -> web.Response:
        kind = ASSETS[request.path][1]
        return web.Response(body=self._assets[request.path], content_type=kind, charset="utf-8")

    async def _health(self, request: web.Request) -> web.Response:
        """Alive as long as this loop answers."""
        view = self._view
        return _json({"status": "ok", "run": view.run_name, "uptime_s": view.uptime_s()})

    async def _ready(self, request: web.Request) -> web.Response:
        is_ready, problems = self._view.ready()
        return _json({"ready": is_ready, "reasons": problems}, status=200 if is_ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._exporter.render, measure(self._view))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _state(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not (since.isascii() and since.isdigit()) or len(since) > 18:
            raise Refused(400, f"since: expected milliseconds since the epoch, found {since[:40]!r}")
        return _json(self._view.state(int(since)))

    async def _model(self, request: web.Request) -> web.Response:
        """The card of a version, by the first digits of its hash, or of a model, by its name."""
        if self._card is None:
            raise Refused(404, "expected a daemon with a registry of models, found none")
        try:
            return _json(await asyncio.to_thread(self._card, request.match_info["version"][:200]))
        except RegistryError as error:
            raise Refused(404, str(error)) from error

    async def _commanded(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in COMMANDS:
            raise Refused(404, f"expected one of the commands {', '.join(COMMANDS)}, found {name[:40]!r}")
        args = _arguments(name, await request.read(), COMMANDS[name])
        known = self._view.runner.engine.roster.slots
        if (strategy := args.get("strategy")) is not None and strategy not in known:
            raise Refused(400, f"strategy: expected one of {', '.join(known)}, found {strategy[:80]!r}")
        if name in ("promote", "rollback"):
            self._check_contest(args)
        since_ns = self._view.runner.clock.now_ns()  # the engine's clock passes this when it has obeyed
        try:
            self._command(name, args)
            self._view.runner.commit()
        except BusFull as error:
            raise Refused(503, str(error)) from error
        return _json({"taken": name, "args": args, "ns": since_ns}, status=202)

    def _check_contest(self, args: Mapping[str, str]) -> None:
        """Refuse a contest or model that the run does not have, while the one who asks still listens."""
        contests = self._view.models.contests if self._view.models is not None else {}
        contest = contests.get(args.get("contest", ""))
        if contest is None:
            known = ", ".join(contests) or "none"
            raise Refused(400, f"contest: expected one of {known}, found {args.get('contest', '')[:80]!r}")
        if (model := args.get("model")) is not None and model not in contest.others:
            raise Refused(400, f"model: expected one of {', '.join(contest.others)}, found {model[:80]!r}")

    async def _packed(self, request: web.Request) -> web.Response:
        """Pack a black box, which takes seconds; its path."""
        if self._pack is None:
            raise Refused(404, "expected a daemon with a journal, found journal.enabled = false")
        args = _arguments("blackbox", await request.read(), frozenset({"reason"}))
        try:
            return _json({"path": await self._pack(args.get("reason", "asked for"))})
        except BoxError as error:
            raise Refused(503, str(error)) from error


class Refused(Exception):
    """A request that is answered with a status other than 200 and one line that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def is_trusted(host: str, hosts: Collection[str] = ()) -> bool:
    """Whether a ``Host`` header names this server: loopback, or one of ``hosts``.

    >>> is_trusted("127.0.0.1:8600"), is_trusted("[::1]:8600"), is_trusted("localhost"), is_trusted("evil.example:8600")
    (True, True, True, False)
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name:
        return False
    if name == "localhost" or name in hosts:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _guarded(hosts: Collection[str], commit: Callable[[], None]) -> Middleware:
    """Ask who is asked and by whom, and answer every error as one line of JSON; write down what is to be shown."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in OPEN_TO_ANY_HOST and not is_trusted(request.headers.get("Host", ""), hosts):
                raise Refused(403, "expected a Host of this machine, found another: use 127.0.0.1 or localhost")
            if request.method not in ("GET", "HEAD"):
                _refuse_foreign(request)
            commit()
            return await handler(request)
        except JournalNotWritten as error:
            return _json({"error": str(error)}, status=503)
        except Refused as refused:
            return _json({"error": str(refused)}, status=refused.status)
        except web.HTTPException as error:
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return _json({"error": error.reason}, status=error.status, headers=headers)

    return guard


def _refuse_foreign(request: web.Request) -> None:
    """Raise for a request that may come from another site's page."""
    if request.content_type != "application/json":
        raise Refused(403, f"expected Content-Type application/json, found {request.content_type!r}")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        raise Refused(403, "expected a request of the daemon's own page, found another Origin")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Refused(403, "expected a request of the daemon's own page, found one across sites")


def _arguments(name: str, body: bytes, known: Collection[str]) -> dict[str, str]:
    """A command's arguments from its body; an empty body has none."""
    try:
        args = json.loads(body) if body.strip() else {}
    except ValueError as error:
        raise Refused(400, f"expected a JSON object, found a mistake: {error}") from error
    if not isinstance(args, dict):
        raise Refused(400, f"expected a JSON object of arguments, found {type(args).__name__}")
    for key, value in args.items():
        if key not in known:
            expected = " or ".join(sorted(known)) or "no argument"
            raise Refused(400, f"{name}: expected {expected}, found {key[:40]!r}")
        if not isinstance(value, str) or len(value) > 200:
            raise Refused(400, f"{name}: {key}: expected text of at most 200 characters")
    return args


def _answering(read: Callable[[], Any]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return _json(read())

    return handle


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers["Server"] = "papertape"


def _problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: another program listens there; set http.port to another, or to 0"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} may not be used by this user: set http.port to one above 1023, or to 0"
    return f"expected to listen on {host} port {port}, found: {error.strerror or error}; correct http.host"
