"""The rules of Prometheus: every alert fires, is silent, and names a runbook that exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from management.scraping import prometheus_configuration
from management.state import PROJECT_DIR
from tests.programs import program

PROMETHEUS = PROJECT_DIR / "deploy" / "prometheus"
ALERTS = [
    rule
    for file in sorted(PROMETHEUS.glob("rules/*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
NAMES = {alert["alert"] for alert in ALERTS}
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


@pytest.fixture(scope="session")
def promtool() -> Path:
    return program("promtool", package="apt-get install prometheus")


@pytest.fixture
def rules(tmp_path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(PROMETHEUS, tmp_path / "prometheus"))


def run(promtool: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)


def check(promtool: Path, rules: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests of the rules."""
    return run(promtool, "test", "rules", *sorted(rules.glob("tests/*.yml")))


def failures(promtool: Path, rules: Path, *, expecting: str) -> set[str]:
    """The alerts of which a test fails that expects them to be `silent`, or to be `firing`."""
    shown = check(promtool, rules)
    cases = re.findall(r"alertname: (\w+), time: \w+, \s*exp:\[(\]?)", shown.stdout + shown.stderr)
    return {name for name, nothing in cases if (expecting == "silent") == bool(nothing)}


def change(rules: Path, definitions: Mapping[str, Mapping[str, str]]) -> None:
    """Write other definitions of some alerts into the copy."""
    file = rules / "rules" / "alerts.yml"
    content = yaml.safe_load(file.read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            rule.update(definitions.get(rule["alert"], {}))
    file.write_text(yaml.safe_dump(content))


class TestFiles:
    def test_prometheus_accepts_the_rules(self, promtool):
        done = run(promtool, "check", "rules", "--lint-fatal", *sorted(PROMETHEUS.glob("rules/*.yml")))
        assert done.returncode == 0, done.stderr

    def test_prometheus_accepts_the_configuration_of_a_local_system(self, promtool, rules):
        text = prometheus_configuration(prometheus=9090, application=8000, host=9091, nodes={"pg1": 9092})
        (rules / "prometheus.yml").write_text(text)
        done = run(promtool, "check", "config", "--lint-fatal", rules / "prometheus.yml")
        assert done.returncode == 0, done.stderr
        assert f"{len(list(rules.glob('rules/*.yml')))} rule files found" in done.stdout

    def test_the_rules_do_what_their_tests_say(self, promtool, rules):
        done = check(promtool, rules)
        assert done.returncode == 0, done.stdout + done.stderr


@each_alert
class TestEachAlert:
    def test_says_how_bad_it_is_and_where_to_read_on(self, alert):
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert "$value" in alert["annotations"]["description"]
        assert (PROJECT_DIR / alert["annotations"]["runbook"]).is_file()

    def test_is_in_the_reference(self, alert):
        runbook = Path(alert["annotations"]["runbook"]).name
        rows = (PROJECT_DIR / "docs/reference/metrics.md").read_text().splitlines()
        (row,) = (row for row in rows if row.startswith(f"| `{alert['alert']}` |"))
        assert f"(../runbooks/{runbook})" in row
        assert alert["labels"]["severity"] in row


class TestControls:
    def test_the_firing_of_every_alert_is_tested(self, promtool, rules):
        change(rules, {name: {"expr": "vector(0) > 1"} for name in NAMES})
        assert failures(promtool, rules, expecting="firing") == NAMES

    def test_the_silence_of_every_alert_is_tested(self, promtool, rules):
        change(rules, {name: {"expr": "vector(1)", "for": "0s"} for name in NAMES})
        assert failures(promtool, rules, expecting="silent") == NAMES

    def test_a_small_mistake_in_a_rule_is_caught(self, promtool, rules):
        mistakes = {
            "TwoPrimaries": "cluster:writable_nodes:count > 2",
            "NoSynchronousReplica": "highload_node_synchronous_replicas == 0",
            "ReplicaEjected": "routers_node_good == 0",
            "SlotRetainsWal": "highload_slot_retained_bytes > 10737418240",
            "ApplicationDown": 'up{job="application"} == 0',
        }
        change(rules, {name: {"expr": broken} for name, broken in mistakes.items()})
        assert failures(promtool, rules, expecting="firing") == set(mistakes)

    def test_pg_up_alone_does_not_show_that_a_node_was_killed(self, promtool, rules):
        """Why `node:postgres_up:max` is as long as it is."""
        file = rules / "rules" / "recording.yml"
        content = yaml.safe_load(file.read_text())
        content["groups"][0]["rules"][0]["expr"] = "max by (node) (pg_up)"
        file.write_text(yaml.safe_dump(content))
        assert "NodeDown" in failures(promtool, rules, expecting="firing")
