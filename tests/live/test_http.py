"""The server over a real socket: what it answers, and whom it does not."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.live.http import ASSETS, COMMANDS, HttpError, HttpServer, is_trusted
from engine.live.registry.registry import Registry
from engine.live.registry.store import content_name
from tests.data import ROOT
from tests.registry import job, store
from tests.watched import Watched, buys

JSON = {"Content-Type": "application/json"}


class Served:
    """A server, and a client that speaks to it as it likes."""

    def __init__(self, watched: Watched, url: str, client: aiohttp.ClientSession) -> None:
        self.watched = watched
        self.url = url
        self.client = client

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        async with self.client.get(self.url + path, headers=headers) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()

    async def command(
        self, name: str, body: str = "{}", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        sent = {**JSON, **(headers or {})}
        async with self.client.post(f"{self.url}/command/{name}", data=body, headers=sent) as answer:
            told: dict[str, Any] = await answer.json()
            return answer.status, told


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    watched = Watched(buys(1_000), capacity=4)
    server = HttpServer(watched.view, watched.runner.command, port=0, hosts=["desk.lan"])
    url = await server.start()
    async with aiohttp.ClientSession() as client:
        yield Served(watched, url, client)
    await server.stop()
    await server.stop()


async def test_health_and_readiness(served: Served) -> None:
    status, health = await served.get("/health")
    assert (status, health["status"], health["run"]) == (200, "ok", "demo")
    status, told = await served.get("/ready")
    assert (status, told["ready"], len(told["reasons"])) == (503, False, 2)
    served.watched.make_ready()
    assert await served.get("/ready") == (200, {"ready": True, "reasons": []})


async def test_what_may_be_read(served: Served) -> None:
    served.watched.make_ready()
    served.watched.pass_time(1)
    served.watched.view.sample()
    answers = {path: (await served.get(path))[1] for path in ("/state", "/fills", "/orders", "/positions", "/models")}
    assert answers["/state"]["digest"] == served.watched.engine.digest
    assert answers["/state"]["history"]["profit"]["USDT"]
    assert [fill["symbol"] for fill in answers["/fills"]] == ["v:BTCUSDT"]
    assert answers["/orders"] == []
    assert [position["size"] for position in answers["/positions"]] == ["1.000"]
    assert [model["name"] for model in answers["/models"]] == ["m"]
    assert (await served.get("/summary"))[1]["fills"] == 1
    assert set((await served.get("/why"))[1]) == {"reasons", "strategies", "drift"}


async def test_the_card_of_a_version(tmp_path: Path) -> None:
    registry, version = Registry(tmp_path), content_name(b"1.5")
    store(registry, job("net"), version, b"1.5", 0.1)
    watched = Watched()
    server = HttpServer(watched.view, watched.runner.command, port=0, card=registry.card)
    url = await server.start()
    async with aiohttp.ClientSession() as client:
        served = Served(watched, url, client)
        for asked in (version, version[:8]):
            status, told = await served.get(f"/models/{asked}")
            assert (status, told["version"], told["card"]["model"]) == (200, version, "net")
        status, told = await served.get("/models/zzzz")
        assert status == 404 and "one of the models net, found 'zzzz'" in told["error"]
    await server.stop()


async def test_without_a_registry_there_is_no_card(served: Served) -> None:
    status, told = await served.get("/models/abcd")
    assert status == 404 and "found none" in told["error"]


async def test_history_from_a_moment_on(served: Served) -> None:
    served.watched.view.sample()
    last = served.watched.view.history[-1].ms
    assert (await served.get(f"/state?since={last}"))[1]["history"]["ms"] == []
    for since in ("-1", "now", "1" * 40):
        status, told = await served.get(f"/state?since={since}")
        assert status == 400 and "since: expected" in told["error"]


async def test_metrics(served: Served) -> None:
    async with served.client.get(served.url + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    assert "papertape_ready 0.0" in text


async def test_the_page_needs_nothing_from_elsewhere(served: Served) -> None:
    for path in ASSETS:
        async with served.client.get(served.url + path) as answer:
            text = await answer.text()
            assert answer.status == 200 and text
            policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "https://" not in text
        assert "innerHTML" not in text
    folder = ROOT / "engine" / "web"
    assert {path.name for path in folder.iterdir()} - {"README.md"} == {name for name, _ in ASSETS.values()}
    index = (await served.get("/"))[1]
    for name in ("/app.js", "/style.css", "/icon.svg"):
        assert name in index and name in ASSETS


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "/web/app.js", "/command/halt/now"])
async def test_what_is_not_there(served: Served, path: str) -> None:
    assert (await served.get(path))[0] == 404


async def test_every_answer_carries_the_headers(served: Served) -> None:
    for path in ("/", "/state", "/nothing"):
        async with served.client.get(served.url + path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers


class TestCommands:
    """A user's word by HTTP."""

    async def test_one_is_taken_and_obeyed(self, served: Served) -> None:
        status, told = await served.command("halt", '{"reason": "lunch"}')
        assert (status, told.pop("ns") > 0, told) == (202, True, {"taken": "halt", "args": {"reason": "lunch"}})
        served.watched.runner.drain(10)
        assert served.watched.engine.halted
        assert (await served.command("resume", ""))[0] == 202
        served.watched.runner.drain(10)
        assert not served.watched.engine.halted

    async def test_the_list_is_what_the_engine_obeys_but_for_start_and_stop(self, served: Served) -> None:
        plain = [name for name in COMMANDS if "contest" not in COMMANDS[name]]
        for name in plain:
            assert (await served.command(name))[0] == 202
        served.watched.runner.drain(10)
        assert [entry.token for entry in served.watched.taped if entry.token][1:] == plain

    async def test_a_contest_that_there_is_not(self, served: Served) -> None:
        for name in ("promote", "rollback"):
            status, told = await served.command(name, '{"contest": "best"}')
            assert (status, told["error"]) == (400, "contest: expected one of none, found 'best'")

    @pytest.mark.parametrize("name", ["start", "stop", "explode"])
    async def test_an_unknown_one(self, served: Served, name: str) -> None:
        status, told = await served.command(name)
        assert status == 404 and "expected one of the commands halt" in told["error"]

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("{", "expected a JSON object, found a mistake"),
            ("[]", "expected a JSON object of arguments, found list"),
            ('{"speed": "9"}', "flatten: expected strategy, found 'speed'"),
            ('{"strategy": 7}', "expected text"),
            ('{"strategy": "nobody"}', "strategy: expected one of s, found 'nobody'"),
        ],
    )
    async def test_wrong_arguments(self, served: Served, body: str, words: str) -> None:
        status, told = await served.command("flatten", body)
        assert status == 400 and words in told["error"]

    async def test_one_strategy_may_be_named(self, served: Served) -> None:
        assert (await served.command("flatten", '{"strategy": "s"}'))[0] == 202

    async def test_when_the_bus_is_full(self, served: Served) -> None:
        for _ in range(4):
            assert (await served.command("resume"))[0] == 202
        status, told = await served.command("halt")
        assert status == 503 and "try again" in told["error"]

    async def test_only_by_post(self, served: Served) -> None:
        assert (await served.get("/command/halt"))[0] == 405

    async def test_too_large_a_body(self, served: Served) -> None:
        assert (await served.command("halt", '{"reason": "' + "x" * 70_000 + '"}'))[0] == 413


class TestForeign:
    """Another site's page in the operator's browser, and a name that was pointed here."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Host": "evil.example:8600"},
            {"Host": "127.0.0.1.evil.example"},
        ],
        ids=str,
    )
    async def test_it_commands_nothing(self, served: Served, headers: dict[str, str]) -> None:
        before = len(served.watched.runner.bus)
        status, told = await served.command("halt", headers=headers)
        assert status == 403 and told["error"]
        assert len(served.watched.runner.bus) == before

    @pytest.mark.parametrize("path", ["/", "/state", "/fills", "/why", "/summary"])
    async def test_it_reads_nothing(self, served: Served, path: str) -> None:
        status, told = await served.get(path, {"Host": "evil.example"})
        assert status == 403 and "expected a Host of this machine" in told["error"]

    async def test_a_scraper_may_call_the_daemon_by_its_own_name(self, served: Served) -> None:
        for path in ("/metrics", "/health"):
            assert (await served.get(path, {"Host": "papertape:8600"}))[0] == 200

    async def test_the_own_page_and_configured_names_may(self, served: Served) -> None:
        assert (await served.command("resume", headers={"Origin": served.url}))[0] == 202
        assert (await served.command("resume", headers={"Host": "desk.lan"}))[0] == 202
        assert (await served.get("/state", {"Host": "LOCALHOST:9"}))[0] == 200

    @pytest.mark.parametrize("host", ["", "[::1", "0.0.0.0:8600", "evil", "8.8.8.8"])
    def test_no_trust_without_a_reason(self, host: str) -> None:
        assert not is_trusted(host)


async def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        watched = Watched()
        with pytest.raises(HttpError) as raised:
            await HttpServer(watched.view, watched.runner.command, port=port).start()
    text = str(raised.value)
    assert text.startswith(f"port {port} on 127.0.0.1 is taken: ")
    assert "\n" not in text


async def test_a_host_of_another_machine() -> None:
    watched = Watched()
    with pytest.raises(HttpError, match=r"expected to listen on 192\.0\.2\.1"):
        await HttpServer(watched.view, watched.runner.command, host="192.0.2.1", port=0).start()
