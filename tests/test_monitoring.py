"""Monitoring of a local system: Prometheus and its exporters, started and stopped with it, and what they see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from prometheus_client.mmap_dict import MmapedDict

from management.background import Background
from management.credentials import read_env_file
from management.processes import is_gone, wait_until
from management.state import PROJECT_DIR
from tests.cluster import temporary_state
from tests.monitored import PROFILES_READ
from tests.ports import free_ports
from tests.system import USERS, System, hear_signals

pytestmark = pytest.mark.replication

KEYS = ["prometheus", "exporter-host", "exporter-pg1", "exporter-pg2", "exporter-pg3"]
PROFILES = 'django_http_responses_total_by_status_view_method_total{view="users.api.views.ProfileView",status="200"}'


def process(system: System, key: str) -> psutil.Process | None:
    state = system.state
    running = Background(key, state.run_dir / f"{key}.json", state.log_dir / f"{key}.log").find()
    return psutil.Process(running.pid) if running else None


def start_again(monitored) -> str:
    """What it says."""
    outcome = monitored.system.script(
        "start-all",
        "--detach",
        f"--users={USERS}",
        f"--http-port={monitored.system.server.options.port}",
        "--monitoring",
        f"--prometheus-port={monitored.prometheus.port}",
    )
    assert outcome.code == 0
    return outcome.stderr


class TestCounters:
    def test_every_worker_is_counted(self, monitored):
        files = (monitored.system.state.run_dir / "metrics").glob("counter_*.db")
        by_worker = {
            path.stem: sum(
                value
                for key, value, *_ in MmapedDict.read_all_values_from_file(str(path))
                if "by_status_view_method" in key and "ProfileView" in key
            )
            for path in files
        }
        answered = [count for count in by_worker.values() if count]
        assert len(answered) == 2
        assert sum(answered) == PROFILES_READ
        (total,) = monitored.prometheus.now(f"sum({PROFILES})")
        assert float(total["value"][1]) == PROFILES_READ


class TestAlerts:
    @pytest.mark.parametrize("alert", ["NoPrimary", "NodeDown", "TwoPrimaries", "WritesRefused"])
    def test_fired_after_the_primary_was_killed_and_not_before(self, monitored, alert):
        firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        assert monitored.prometheus.over(firing, monitored.start, monitored.killed) == []
        assert monitored.saw(firing)

    def test_saw_the_replicas_that_did_not_replay(self, monitored):
        for series in ("node:replica_lag_bytes:max", "node:replica_lag_seconds:max"):
            lagged = {each["metric"]["node"] for each in monitored.saw(f"{series} > 0")}
            assert lagged >= {"pg2", "pg3"}


class TestStartAll:
    def test_starts_again_only_what_has_ended(self, monitored):
        before = {key: process(monitored.system, key).pid for key in KEYS}
        crashed = process(monitored.system, "exporter-pg2")
        crashed.kill()
        assert wait_until(lambda: process(monitored.system, "exporter-pg2") is None, timeout_seconds=60)
        assert "monitoring started: exporter-pg2\n" in start_again(monitored)
        after = {key: process(monitored.system, key).pid for key in KEYS}
        assert {key for key in KEYS if before[key] != after[key]} == {"exporter-pg2"}
        assert "monitoring runs already" in start_again(monitored)

    def test_shows_nobody_the_password(self, monitored):
        password = read_env_file(monitored.system.state.application_env)["HIGHLOAD_MONITOR_PASSWORD"]
        shown = [" ".join(process(monitored.system, key).cmdline()) for key in KEYS]
        files = [*monitored.system.state.log_dir.iterdir(), *(monitored.system.state.root / "prometheus").glob("*.yml")]
        shown += [path.read_text(errors="replace") for path in files]
        assert not [text for text in shown if password in text]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can start them as somebody else")
    def test_root_starts_them_as_nobody_who_could_read_the_nodes(self, monitored):
        users = {process(monitored.system, key).username() for key in KEYS}
        assert users in ({"prometheus"}, {"nobody"})

    def test_names_a_taken_port_and_changes_nothing(self, monitored):
        with temporary_state() as state:
            outcome = System(state).script(
                "start-all",
                "--detach",
                f"--http-port={free_ports(1)}",
                "--monitoring",
                f"--prometheus-port={monitored.prometheus.port}",
            )
            assert outcome.code == 1
            assert f"Port {monitored.prometheus.port} for prometheus is not available" in outcome.stderr
            assert not (state.root / "nodes").exists()

    def test_names_the_packages_that_are_missing_and_changes_nothing(self, tmp_path):
        with temporary_state() as state:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "deploy.start_all",
                    f"--state={state.root}",
                    f"--http-port={free_ports(1)}",
                    "--monitoring",
                ],
                env={**System(state).environment(), "PATH": str(tmp_path)},
                cwd=PROJECT_DIR,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            packages = "prometheus prometheus-postgres-exporter prometheus-node-exporter"
            assert f"apt-get install {packages}" in done.stderr
            assert list(state.root.iterdir()) == []


class TestStop:
    def test_ctrl_c_stops_them_and_destroy_deletes_what_they_stored(self, monitored):
        with temporary_state() as state:
            system = System(state)
            port = free_ports(9)
            arguments = [
                f"--state={state.root}",
                f"--base-port={port}",
                f"--http-port={port + 3}",
                "--users=0",
                "--monitoring",
                f"--prometheus-port={port + 4}",
            ]
            started = subprocess.Popen(
                [str(PROJECT_DIR / "deploy" / "start-all"), *arguments],
                env={**system.environment(), "HIGHLOAD_VENV": sys.prefix},
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
            )
            assert started.stderr is not None
            for line in started.stderr:
                if "Ctrl-C stops everything" in line:
                    break
            pids = [process(system, key).pid for key in KEYS]
            started.send_signal(signal.SIGINT)
            _, talk = started.communicate(timeout=120)
            assert (started.returncode, "monitoring stopped" in talk) == (130, True)
            assert all(is_gone(pid) for pid in pids)
            assert (state.root / "prometheus" / "data").is_dir()
            assert system.script("stop-all", "--destroy", "--no-input").code == 0
            assert not state.root.exists()
