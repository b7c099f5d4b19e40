"""Redis by TLS, as a user who may do what deploy/README.md tells and no more: what works, and what is said if not."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from adapters.tape_bytes import ZSTD_MAGIC
from engine.core.records import Note, Record
from engine.live.redis_bus import RedisPublisher, RedisSettings, RedisStatus
from engine.live.shards.rights import COMMANDS
from engine.research.shards_judge import judge
from engine.research.shards_rig import KEYS, PROGRAM, Plan, Shown, free_port, running, stopped, until
from tests.data import ROOT
from tests.services import require

PASSWORD: Final = "correct-horse-battery"
NAMED: Final = re.search(r"`ACL SETUSER papertape on >PASSWORD (.+)`", (ROOT / "deploy" / "README.md").read_text())
SHARD: Final = "shard-0-of-1"
PLAN: Final = Plan(("BTCUSDT", "ETHUSDT"), shards=1, seed=3)
LEARNING: Final = """
[[model]]
name = "middle"
use = "tests.learning:Middle"
symbol = "sim:BTCUSDT"
horizon = "200ms"
every = "100ms"
min_rows = 30
retrain_every = "2s"
"""


def rights() -> str:
    """What the documented user may."""
    assert NAMED is not None
    return NAMED[1]


class Secured:
    """A redis-server that speaks TLS only, with its own authority, and lets in a user of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        for name in ("redis", "other"):
            self._certify(name)
        users = {"papertape": rights(), "narrow": rights().replace(" +eval", ""), "admin": "~* &* +@all"}
        lines = [f"user {name} on >{PASSWORD} {may}" for name, may in users.items()]
        tls = [f"tls-{what}-file {folder}/redis.{end}" for what, end in (("cert", "pem"), ("key", "key"))]
        places = ["port 0", f"tls-port {self.port}", "bind 127.0.0.1", f"dir {folder}", 'save ""']
        tls += [f"tls-ca-cert-file {folder}/redis.pem", "tls-auth-clients no"]
        (folder / "redis.conf").write_text("\n".join([*places, *tls, "user default off", *lines]) + "\n")
        command = [require("redis-server"), str(folder / "redis.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.admin: Any = Redis.from_url(self.url("admin"), decode_responses=True, protocol=2)
        until(self._answers, "redis-server answers")

    def url(self, user: str = "papertape", password: str = PASSWORD, authority: str = "redis") -> str:
        """The address for a user."""
        return f"rediss://{user}:{password}@127.0.0.1:{self.port}/0?ssl_ca_certs={self.folder}/{authority}.pem"

    def used(self) -> set[str]:
        """The commands that were sent, those in scripts among them, as a right names them."""
        return {f"+{name.removeprefix('cmdstat_')}" for name in self.admin.info("commandstats")}

    def denied(self) -> list[str]:
        """What users tried and may not; a client's name of itself is no need of ours."""
        return [one["object"] for one in self.admin.acl_log() if not one["object"].startswith("client")]

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except NoConnection:
            return False

    def _certify(self, name: str) -> None:
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        words += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        words += ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.pem")]
        subprocess.run([require("openssl"), *words], check=True, capture_output=True)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    made = Secured(tmp_path)
    yield made
    made.process.terminate()
    made.process.wait(20)


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "PAPERTAPE_REDIS_URL": url}


def said(data: bytes) -> Iterator[bytes]:
    """Bytes, and what is packed or compressed in them."""
    yield data
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from said(archive.read(name))
    for found in re.finditer(re.escape(ZSTD_MAGIC), data):
        with suppress(zstandard.ZstdError):  # four bytes that look like a beginning
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[found.start() :])


def holders(folder: Path, text: str) -> list[Path]:
    """The files below a folder that say it; the server's own configuration is none of ours."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "redis.conf"]
    return [path for path in files if any(text.encode() in part for part in said(path.read_bytes()))]


def pages(run: Path) -> bytes:
    """All that the daemon serves."""
    url = json.loads((run / "daemon.json").read_text())["url"]
    names = ("", "state", "summary", "fills", "orders", "positions", "models", "why", "truth", "health", "metrics")
    return b"".join(urllib.request.urlopen(f"{url}/{name}", timeout=10).read() for name in names)


def test_the_documented_rights_are_what_a_start_tries_and_all_of_it_is_sent() -> None:
    words = [tuple(str(word).lower() for word in command[:2]) for command in COMMANDS]
    tried = {f"+{one}|{two[0]}" if one in ("xgroup", "xinfo") else f"+{one}" for one, *two in words}
    may = set(rights().split())
    assert may == {"~papertape:*", "&papertape:*", "+multi", "+exec", *tried}
    sources = [path for path in (ROOT / "engine" / "live").rglob("*.py") if path.name != "rights.py"]
    sent = set(re.findall(r"""["']([A-Z]{3,})["']""", "".join(path.read_text() for path in sources)))
    assert {one.lstrip("+").partition("|")[0].upper() for one in may if one.startswith("+")} - sent == {"MULTI", "EXEC"}


def test_a_run_behind_tls_works_with_the_documented_rights_and_tells_no_password(
    secured: Secured, tmp_path: Path
) -> None:
    config = PLAN.config(tmp_path).replace("[redis]", "[redis]\ntrainers = true") + LEARNING
    (tmp_path / "c.toml").write_text(config)
    run, shown = tmp_path / "r" / SHARD, Shown(secured.admin, SHARD)

    def after_a_look(condition: Callable[[], bool]) -> Callable[[], bool]:
        def is_so() -> bool:
            shown.look()
            return condition()

        return is_so

    with ExitStack() as stack:

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(running(tmp_path, environment(secured.url()), name, *words))

        feed = start("feed", "--role", "feed")
        trainer = start("trainer", "--role", "trainer")
        shard = start("shard", "--role", "engine", "--shard", "0/1")
        standby = start("standby", "--role", "engine", "--shard", "0/1", "--standby")
        until(lambda: shown.is_ready(0), "all books are ready")
        until(after_a_look(lambda: len(shown.fills) > 10 and len(shown.orders) > 0), "the shard trades")
        until(lambda: " trained " in (tmp_path / "trainer.txt").read_text(), "a model was trained")
        until(after_a_look(lambda: "ModelSwapped" in {kind for _, kind, _ in shown.records.values()}), "and used")
        secured.admin.xadd(KEYS.key(SHARD, "commands"), {"name": "halt", "args": "{}"})
        until(lambda: secured.admin.hmget(KEYS.key(SHARD, "health"), "halted") == ["true"], "a command is obeyed")
        box = [*PROGRAM, "blackbox", str(run), "--out", str(tmp_path / "box.ptb")]
        subprocess.run(box, check=True, capture_output=True, timeout=60)
        served = pages(run)
        assert stopped(shard) == stopped(standby) == stopped(trainer) == stopped(feed) == 0
    shown.look()
    assert judge(run, shown).wrong == []
    assert secured.denied() == []
    assert PASSWORD.encode() not in served
    assert {".ptz", ".ptb", ".toml", ".ptj"} <= {path.suffix for path in holders(tmp_path, "crash_strategy")}
    assert holders(tmp_path, PASSWORD) == []


async def test_a_daemon_without_a_role_needs_nothing_more(secured: Secured) -> None:
    settings = RedisSettings(url=secured.url(), run="t", retry_max_s=0.2)
    heard: list[str] = []
    publisher = RedisPublisher(settings, lambda name, args: heard.append(name))
    task = asyncio.create_task(publisher.run())
    async with asyncio.timeout(30):
        status = RedisStatus(books={"v:X": {"bid": "1"}}, positions={"s v:X": "1"}, orders={"1": "{}"}, health={})
        publisher.publish([Record(1, 10, Note("s", {"n": 1}))], status)
        while not secured.admin.exists("papertape:t:health"):
            await asyncio.sleep(0.01)
        secured.admin.xadd("papertape:t:commands", {"name": "halt", "args": "{}"})
        while not secured.admin.xlen("papertape:t:replies"):
            await asyncio.sleep(0.01)
        publisher.stop()
        await task
    assert heard == ["halt"] and publisher.stats.reconnects == 0
    assert secured.denied() == []
    assert {"+multi", "+exec"} <= secured.used()


def test_the_documented_user_reaches_no_keys_of_others(secured: Secured) -> None:
    client: Any = Redis.from_url(secured.url(), protocol=2)
    secured.admin.set("mine", "1")
    for words in (("GET", "mine"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("PUBLISH", "mine", "1")):
        with pytest.raises(Exception, match="no permissions"):
            client.execute_command(*words)
    with pytest.raises(Exception, match="executing the script can't run this command"):
        client.execute_command("EVAL", "return redis.call('FLUSHALL')", 0)
    assert secured.admin.get("mine") == "1"


ROLES: Final = (
    ("--role", "feed"),
    ("--role", "engine", "--shard", "0/1"),
    ("--role", "engine", "--shard", "0/1", "--standby"),
    ("--role", "trainer"),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "wrong-horse"}, "expected a user and a password that Redis knows"),
        ({"user": "narrow"}, "expected a user with the rights that deploy/README.md names, found: .*'eval'"),
        ({"authority": "other"}, "expected a certificate that ssl_ca_certs in the address vouches for, found: self"),
        ({"authority": "nothing"}, "expected the files that the address names"),
    ],
)
def test_who_is_not_let_in_says_so_in_one_line(
    secured: Secured, tmp_path: Path, change: dict[str, str], expected: str
) -> None:
    (tmp_path / "c.toml").write_text(PLAN.config(tmp_path))
    url = secured.url(**change)
    for words in ROLES:
        command = [*PROGRAM, "run", str(tmp_path / "c.toml"), *words]
        begun = time.monotonic()
        done = subprocess.run(command, env=environment(url), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, (words, time.monotonic() - begun)
        assert done.stdout == "" and len(done.stderr.splitlines()) == 1, done.stderr
        assert re.match(f"papertape: rediss://127.0.0.1:{secured.port}/0: {expected}", done.stderr), done.stderr
        assert PASSWORD not in done.stderr and "wrong-horse" not in done.stderr
