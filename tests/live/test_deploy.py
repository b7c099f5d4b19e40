"""What is deployed fits what is built: metrics, rules, ports, unit, image."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from engine.live.config import load_config
from engine.live.metrics import TABLE
from engine.live.shards.names import Share
from tests.data import ROOT
from tests.services import require

DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "papertape.json"
NAMES = {metric.full_name for metric in TABLE} | {
    metric.full_name + suffix
    for metric in TABLE
    if metric.kind == "histogram"
    for suffix in ("_bucket", "_sum", "_count")
}
RULES = (DEPLOY / "alerts.yml").read_text()


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, with Grafana's variables filled in."""
    board = dashboard()
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    found += [note["expr"] for note in board["annotations"]["list"]]
    return [one.replace("$__rate_interval", "1m").replace("$symbol", ".*") for one in found]


def metrics_of(text: str) -> set[str]:
    return set(re.findall(r"\bpapertape_[a-z0-9_]+", text))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_the_dashboard_names_is_in_the_table() -> None:
    named = metrics_of("\n".join(expressions()) + dashboard()["templating"]["list"][0]["definition"])
    assert named
    assert named <= NAMES


def test_every_metric_that_an_alert_names_is_in_the_table() -> None:
    named = metrics_of(RULES)
    assert named
    assert named <= NAMES


def test_every_metric_is_on_the_dashboard_or_in_an_alert_or_left_out_on_purpose() -> None:
    used = metrics_of("\n".join(expressions()) + RULES)
    used = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in NAMES else name for name in used}
    used |= {name.removesuffix("_bucket") for name in used}
    left_out = {
        "papertape_info",
        "papertape_batches_total",
        "papertape_bus_refused_total",
        "papertape_model_pending_labels",
        "papertape_model_training",
        "papertape_trainings_started_total",
    }
    assert {metric.full_name for metric in TABLE} - used == left_out


def test_panels_have_their_own_ids_and_places() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_panel_has_a_title_and_asks_the_provisioned_source() -> None:
    (source,) = re.findall(r"uid: (\S+)", (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    for panel in dashboard()["panels"]:
        assert panel["title"]
        assert panel["type"] == "row" or panel["datasource"]["uid"] == source


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES)
    tests = (DEPLOY / "alerts_test.yml").read_text()
    severities = re.findall(r"{severity: (?:page|ticket)}", RULES)
    assert len(alerts) == RULES.count("action:") == RULES.count("summary:") == len(severities)
    for alert in alerts:
        assert f"name: {alert} fires" in tests
        assert f"name: {alert} stays quiet" in tests


def test_promtool_accepts_the_scrape_and_the_rules() -> None:
    promtool = require("promtool")
    run(promtool, "check", "config", str(DEPLOY / "prometheus.yml"))
    run(promtool, "check", "rules", str(DEPLOY / "alerts.yml"))


def test_promtool_sees_every_alert_fire_and_stay_quiet() -> None:
    run(require("promtool"), "test", "rules", str(DEPLOY / "alerts_test.yml"))


def test_promtool_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    promtool = require("promtool")
    rules = [{"record": f"panel:{at}", "expr": one} for at, one in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    run(promtool, "check", "rules", str(file))


def test_the_scrape_and_the_config_agree_on_the_port() -> None:
    config = load_config(DEPLOY / "papertape.toml")
    assert f'"papertape:{config.http.port}"' in (DEPLOY / "prometheus.yml").read_text()
    assert f"EXPOSE {config.http.port}" in (DEPLOY / "Dockerfile").read_text()
    assert config.redis.url == "redis://redis:6379/0"


def test_the_deployed_config_is_the_demo_but_for_its_addresses() -> None:
    demo, deployed = load_config(ROOT / "configs/demo.toml"), load_config(DEPLOY / "papertape.toml")
    assert demo.plain() == deployed.plain()


def test_every_published_port_is_on_loopback() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    published = re.findall(r"^      - \"([^\"]+:\d+)\"$", text, re.MULTILINE)
    assert len(published) == text.count("ports:") == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "network_mode" not in text


@pytest.mark.parametrize("name", ["compose.yaml", "compose.shards.yaml"])
def test_compose_mounts_what_is_there(name: str) -> None:
    for path in re.findall(r"- (\./[^:]+):", (DEPLOY / name).read_text()):
        assert (DEPLOY / path).exists(), path


def test_every_shard_of_the_example_has_symbols_and_its_own_port() -> None:
    config, text = load_config(DEPLOY / "shards.toml"), (DEPLOY / "compose.shards.yaml").read_text()
    shares = {Share.parse(one) for one in re.findall(r'"--shard", "([^"]+)"\]', text)}
    assert shares == {Share(0, 2), Share(1, 2)}
    for share in shares:
        assert any(share.owns(f"sim:{symbol}") for symbol in config.venue["sim"].symbols)
        assert f'- "127.0.0.1:{config.http.port + share.index}:{config.http.port + share.index}"' in text
    assert text.count("ports:") == 2 and "network_mode" not in text


def test_the_image_copies_what_is_there_and_does_not_run_as_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    users = re.findall(r"^USER (\w+)$", text, re.MULTILINE)
    assert users == ["papertape"]


def test_the_unit_is_sound(tmp_path: Path) -> None:
    analyze = require("systemd-analyze")
    # The unit names the installed program; here any program will do.
    text = (DEPLOY / "papertape@.service").read_text().replace("/opt/papertape/bin/papertape", "/bin/true")
    unit = tmp_path / "papertape@demo.service"
    unit.write_text(text)
    run(analyze, "verify", "--man=no", str(unit))


@pytest.mark.parametrize(
    "word", ["NoNewPrivileges=yes", "ProtectSystem=strict", "DynamicUser=yes", "KillSignal=SIGTERM"]
)
def test_the_unit_gives_away_no_rights(word: str) -> None:
    assert word in (DEPLOY / "papertape@.service").read_text().splitlines()
