"""docker-compose.yml against the rest of the project, without any engine: what it names is there, and is the same."""

from __future__ import annotations

import copy
import inspect
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose_files import node_files
from management import local_node, provisioning
from management.configuration import PG_HBA_CONF, POSTGRESQL_CONF
from management.credentials import ADMIN_EMAIL, MONITOR, REPLICATOR, SUPERUSER, read_env_file
from management.existing import _clone_lines
from management.state import PROJECT_DIR
from management.synchronous import SyncMode
from tests.compose.audit import HINT, environment, mounts, problems_of, read_compose
from tests.programs import program

FILE = PROJECT_DIR / "docker-compose.yml"
COMPOSE = read_compose(FILE)
SERVICES: dict[str, Any] = COMPOSE["services"]
NODE = (PROJECT_DIR / "deploy/compose/node").read_text()
SETUP = (PROJECT_DIR / "deploy/compose/setup").read_text()
SCRIPTS = ["deploy/compose-env", "deploy/compose-smoke", "deploy/compose/node", "deploy/compose/setup"]
HARNESS = ["tests/compose/stand-ins", "tests/compose/without-docker"]


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


def tool(name: str) -> Path:
    """A program of the development requirements."""
    beside = Path(sys.executable).with_name(name)
    return beside if beside.exists() else program(name, package="requirements-dev.txt")


def options_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text))


class TestFile:
    def test_names_only_what_is_there_and_pins_limits_and_hides_what_it_should(self):
        assert problems_of(COMPOSE, PROJECT_DIR) == []

    def test_keeps_to_the_specification(self):
        done = run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE)
        assert done.returncode == 0, done.stdout

    def test_is_read_by_compose(self, secrets):
        done = run(tool("docker-compose"), "--env-file", secrets, "--file", FILE, "--profile=operator", "config")
        assert done.returncode == 0, done.stderr
        assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)

    def test_says_what_to_run_without_secrets(self, tmp_path):
        (tmp_path / "empty").touch()
        done = run(tool("docker-compose"), "--env-file", tmp_path / "empty", "--file", FILE, "config", env=BARE)
        assert (done.returncode, HINT in done.stderr) == (1, True)

    @pytest.mark.parametrize("script", [*SCRIPTS, *HARNESS])
    def test_its_scripts_pass_shellcheck(self, script):
        assert run(tool("shellcheck"), PROJECT_DIR / script).stdout == ""
        assert os.access(PROJECT_DIR / script, os.X_OK)

    def test_the_image_s_recipe_passes_hadolint(self):
        done = run(tool("hadolint"), "--failure-threshold=warning", PROJECT_DIR / "deploy/Dockerfile")
        assert done.returncode == 0, done.stdout


BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


@pytest.fixture
def secrets(tmp_path):
    file = tmp_path / "env"
    done = run(PROJECT_DIR / "deploy/compose-env", file)
    assert done.returncode == 0, done.stderr
    return file


class TestSecrets:
    def test_are_private_and_never_shown(self, tmp_path):
        file = tmp_path / "env"
        done = run(PROJECT_DIR / "deploy/compose-env", file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        values = read_env_file(file).values()
        assert min(len(value) for value in values) >= 40
        assert not [value for value in values if value in done.stdout + done.stderr]
        assert list(tmp_path.iterdir()) == [file]

    def test_are_exactly_those_the_file_asks_for(self, secrets):
        assert set(read_env_file(secrets)) == set(re.findall(r"\$\{(\w+):\?", FILE.read_text()))

    def test_are_made_once(self, secrets):
        before = secrets.read_text()
        assert run(PROJECT_DIR / "deploy/compose-env", secrets).returncode == 1
        assert secrets.read_text() == before

    def test_are_neither_committed_nor_copied_into_the_image(self):
        assert "/.env" in (PROJECT_DIR / ".gitignore").read_text().splitlines()
        ignored = (PROJECT_DIR / ".dockerignore").read_text().splitlines()
        assert "*" in ignored
        assert not [line for line in ignored if line.startswith("!") and "env" in line]


def alter(change):
    """The file with one thing changed."""
    altered = copy.deepcopy(COMPOSE)
    change(altered["services"])
    return problems_of(altered, PROJECT_DIR)


class TestControls:
    """A test that finds nothing in a damaged file proves nothing."""

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            (lambda services: services["pg1"].update(image="postgres:latest"), "is not pinned"),
            (lambda services: services["pg1"].update(image="postgres:18"), "is not pinned"),
            (lambda services: services["host"].pop("healthcheck"), "has no health check"),
            (lambda services: services["grafana"].pop("deploy"), "has no limit of memory"),
            (lambda services: services["grafana"].update(ports=["3000:3000"]), "is open to others"),
            (lambda services: services["pg2"]["volumes"].append("./deploy/nothing:/x:ro"), "which is not there"),
            (lambda services: services["pg2"].update(entrypoint=["/highload/nod"]), "is not there"),
            (lambda services: services["setup"]["command"].append("deploy/stop_all.py"), "which the image lacks"),
            (lambda services: services["application"]["environment"].update(HIGHLOAD_PROFIL="x"), "nothing reads"),
            (lambda services: services["pg1"]["environment"].update(GRAFANA_PASSWORD="secret"), "is written in"),
            (
                lambda services: services["application"]["environment"].update(
                    HIGHLOAD_OPERATOR_PASSWORD=services["setup"]["environment"]["HIGHLOAD_OPERATOR_PASSWORD"]
                ),
                "has the operator's",
            ),
        ],
    )
    def test_damage_is_found(self, change, found):
        assert [problem for problem in alter(change) if found in problem]


class TestNodes:
    """They get what `deploy/start-all` gives to local ones."""

    def test_the_files_are_those_of_local_nodes_but_for_addresses(self):
        assert {path: path.read_text() for path in node_files()} == node_files(), "run: python -m deploy.compose_files"
        settings = (PROJECT_DIR / "deploy/compose/postgresql.conf").read_text().splitlines()
        local = POSTGRESQL_CONF.splitlines()
        assert [line for line in local if line not in settings] == ["listen_addresses = '127.0.0.1'"]
        access = (PROJECT_DIR / "deploy/compose/pg_hba.conf").read_text()
        assert rules(access) == [
            [*rule[:3], "samenet", rule[4]] for rule in rules(PG_HBA_CONF) if rule[3] == "127.0.0.1/32"
        ]
        assert len(rules(access)) == len(rules(PG_HBA_CONF))

    def test_are_initialised_with_the_same_options(self):
        initialise = NODE[NODE.index("initdb ") : NODE.index(">/dev/null", NODE.index("initdb "))]
        assert options_in(initialise) == options_in(inspect.getsource(local_node.LocalNode.initialise))

    def test_are_cloned_with_the_line_that_set_up_prints_for_existing_servers(self):
        printed = options_in(inspect.getsource(_clone_lines)) - {"--progress"}
        clone = NODE[NODE.index("pg_basebackup ") : NODE.index("mv -T", NODE.index("pg_basebackup "))]
        assert options_in(clone) == printed

    def test_have_the_same_roles_extension_and_synchronous_list(self):
        assert f"user={REPLICATOR} " in NODE
        assert f"--username={SUPERUSER} " in NODE
        assert all(f"CREATE EXTENSION IF NOT EXISTS {name}" in NODE for name in provisioning._EXTENSIONS)
        assert f"setup_replication --existing --sync={SyncMode.QUORUM} " in SETUP
        assert SERVICES["setup"]["environment"]["HIGHLOAD_MONITOR_USER"] == MONITOR
        assert SERVICES["setup"]["environment"]["HIGHLOAD_ADMIN_EMAIL"] == ADMIN_EMAIL

    def test_are_the_three_that_everybody_is_told_of(self):
        told = {environment(service)["HIGHLOAD_NODES"] for service in SERVICES.values() if needs_nodes(service)}
        assert told == {"pg1=pg1:5432,pg2=pg2:5432,pg3=pg3:5432"}
        nodes = {name for name, service in SERVICES.items() if "NODE" in environment(service)}
        assert nodes == {environment(SERVICES[name])["NODE"] for name in nodes} == {"pg1", "pg2", "pg3"}

    def test_only_the_first_gets_the_superuser_s_password(self):
        has = [name for name in ("pg1", "pg2", "pg3") if "HIGHLOAD_OPERATOR_PASSWORD" in environment(SERVICES[name])]
        assert has == ["pg1"]

    def test_keep_their_data_in_volumes_of_their_own(self):
        for name in ("pg1", "pg2", "pg3"):
            assert [name, "/var/lib/postgresql"] in mounts(SERVICES[name])
            assert environment(SERVICES[name])["PGDATA"].startswith("/var/lib/postgresql/")


def rules(access: str) -> list[list[str]]:
    return [line.split() for line in access.splitlines() if line and not line.startswith("#")]


def needs_nodes(service: Any) -> bool:
    return "HIGHLOAD_NODES" in environment(service)


class TestMonitoring:
    @pytest.fixture
    def jobs(self):
        configuration = yaml.safe_load((PROJECT_DIR / "deploy/compose/prometheus.yml").read_text())
        return {job["job_name"]: job["static_configs"] for job in configuration["scrape_configs"]}

    def test_asks_the_application_the_nodes_the_host_and_itself(self, jobs):
        assert list(jobs) == ["application", "postgres", "host", "prometheus"]
        hosts = {target.partition(":")[0] for each in jobs.values() for one in each for target in one["targets"]}
        assert hosts - {"localhost"} <= set(SERVICES)

    def test_has_an_exporter_for_each_node(self, jobs):
        asked = {one["labels"]["node"]: one["targets"][0].partition(":")[0] for one in jobs["postgres"]}
        assert asked == {name: f"exporter-{name}" for name in ("pg1", "pg2", "pg3")}
        for name, exporter in asked.items():
            assert environment(SERVICES[exporter])["DATA_SOURCE_URI"].startswith(f"{name}:5432/")
            assert environment(SERVICES[exporter])["DATA_SOURCE_USER"] == MONITOR

    def test_may_ask_the_application_by_its_name(self):
        assert "application" in environment(SERVICES["application"])["HIGHLOAD_ALLOWED_HOSTS"].split(",")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_system_runs_loses_its_primary_and_goes_on():
    """With Docker, or else on podman."""
    if shutil.which("docker") and not run("docker", "info").returncode and not run("docker", "compose").returncode:
        done = run(PROJECT_DIR / "deploy/compose-smoke")
    elif os.geteuid() != 0:
        pytest.skip("without Docker it needs root")
    else:
        program("podman", package="apt-get install podman buildah runc netavark aardvark-dns debootstrap iptables")
        done = run(PROJECT_DIR / "tests/compose/without-docker", env={**os.environ, "PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr
