"""The experiments, short, on a real system: their files, their figures, and what they must notice."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from playwright.sync_api import sync_playwright

from management.errors import Refused
from management.experiments import failover
from management.experiments.cpu_limit import cpu_limited, require_cpu_limits
from management.experiments.load import Generator, Load, LoadTool, Plan, find_generator
from management.experiments.people import asked_for
from management.experiments.results import Sample, read_results, summarise
from management.experiments.subject import Subject
from management.processes import wait_until
from management.state import PROJECT_DIR
from tests.cluster import Outcome, temporary_state
from tests.programs import jmeter, program
from tests.stub import Answer, stub
from tests.system import System, hear_signals

pytestmark = pytest.mark.once

BUILT_IN = Generator(LoadTool.BUILT_IN)


@pytest.fixture(scope="module")
def system(shared_system: System) -> System:
    """One for all: an experiment leaves it healthy."""
    return shared_system


@pytest.fixture(scope="module")
def subject(system: System) -> Subject:
    return Subject(system.state, system.server.options.port, keeps_users=True, say=lambda _: None)


def experiment(system: System, folder: Path, *arguments: str) -> Outcome:
    """On the running system, with the built-in load: JMeter's start alone would take as long as the load."""
    done = system.command(
        *("experiment", *arguments, "--running", "--no-input", "--load-tool=built-in", f"--output={folder}")
    )
    # Perhaps a figure was beyond its limit, as on a busy machine; but it came to its end.
    assert (folder / "report.json").exists(), done.stderr
    return done


def findings(folder: Path) -> dict[str, float]:
    report = json.loads((folder / "report.json").read_text())
    return {each["name"]: each["value"] for chapter in report["chapters"] for each in chapter["findings"]}


@pytest.fixture(scope="module")
def failed_over(system: System, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """A short kill-primary."""
    folder = tmp_path_factory.mktemp("kill") / "report"
    return experiment(system, folder, "kill-primary", "--seconds=24", "--promote-after=1"), folder


class TestKillPrimary:
    def test_loses_nothing_and_says_for_how_long_nobody_could_write(self, failed_over):
        outcome, folder = failed_over
        assert "kill -9 of pg" in outcome.stderr, outcome.stderr
        seen = findings(folder)
        assert (seen["acknowledged writes lost"], seen["reads failed"]) == (0, 0)
        # The second from the kill to the promotion is in it.
        assert 1.0 < seen["time without writes"] < 24
        assert seen["replicas that stream from the new primary at the end, the old one among them"] == 2

    def test_leaves_raw_data_plots_and_reports_and_no_password(self, failed_over, system):
        _, folder = failed_over
        names = {file.name for file in folder.iterdir()}
        assert names >= {"report.html", "report.md", "report.json", "failover.jtl", "failover.nodes.csv"}
        assert {"failover-writes.png", "failover-lag.png"} <= names
        assert not [file.name for file in folder.iterdir() if system.password.encode() in file.read_bytes()]
        # A list of people's e-mails is of no use to a reader either.
        assert not names & {"users.csv", "names.csv"}

    def test_notices_a_lost_write(self, failed_over, subject):
        _, folder = failed_over
        samples = read_results(folder / "failover.jtl")
        planted = Sample(0.0, 0.1, failover.REGISTER, True, "201", "", "nobody@load.example.com")
        assert failover.count_lost(subject, subject.primary(), samples) == 0
        assert failover.count_lost(subject, subject.primary(), [*samples, planted]) == 1


class TestReportInABrowser:
    def test_shows_every_plot_and_figure_and_asks_nobody(self, failed_over):
        _, folder = failed_over
        with looking_at(folder / "report.html") as (page, asked):
            assert page.title().startswith("Highload: experiments")
            assert page.locator("h2").all_inner_texts() == ["Writes while the primary is killed and a replica promoted"]
            assert (page.locator("img").count(), broken_pictures(page)) == (4, 0)
            assert "acknowledged writes lost" in page.locator("table").first.inner_text()
            # Wide tables scroll by themselves, the page does not.
            page.set_viewport_size({"width": 500, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= 500
            assert asked == []

    def test_a_broken_picture_would_be_noticed(self, failed_over, tmp_path):
        _, folder = failed_over
        doctored = tmp_path / "report.html"
        doctored.write_text((folder / "report.html").read_text().replace("base64,iVBOR", "base64,AAAAA", 1))
        with looking_at(doctored) as (page, _):
            assert broken_pictures(page) == 1


@contextmanager
def looking_at(file: Path):
    """A page in Chromium, and the addresses it asked for beside its own."""
    chromium = program("chromium", package="apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*flags, "--disable-sync", "--no-first-run"]
        )
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
        page.goto(file.as_uri())
        try:
            yield page, asked
        finally:
            browser.close()


def broken_pictures(page) -> int:
    return page.evaluate("[...document.images].filter(image => !image.complete || !image.naturalWidth).length")


class TestRead:
    def test_the_primary_serves_nothing_in_the_replication_profile(self, system, tmp_path):
        outcome = experiment(system, tmp_path, "read", "--rounds=1", "--round-seconds=2", "--threads=4")
        assert "read, replication, round 1 of 1" in outcome.stderr, outcome.stderr
        seen = findings(tmp_path)
        (on_primary,) = [value for name, value in seen.items() if name.startswith("application queries on pg")]
        assert (on_primary, seen["failed requests"]) == (0, 0)
        # The control: alone it served them all.
        (report,) = json.loads((tmp_path / "report.json").read_text())["chapters"]
        (by_node,) = [table for table in report["tables"] if table["title"].startswith("Each node")]
        primary = next(name for name in seen if name.startswith("application")).split()[3]
        alone = {row[0]: int(row[2]) for row in by_node["rows"] if row[1] == "primary only"}
        assert alone.pop(primary) > 0
        assert set(alone.values()) == {0}

    def test_compares_numbers_of_replicas_under_limits(self, system, tmp_path):
        require_control_groups()
        arguments = ("read", "--rounds=1", "--round-seconds=2", "--node-cpu=50", "--mix=profile=50,search=50")
        outcome = experiment(system, tmp_path, *arguments)
        assert "scaling, 2 replicas, round 1 of 1" in outcome.stderr, outcome.stderr
        assert (tmp_path / "scaling.png").stat().st_size > 1000
        assert {"throughput with 1 replica to the primary alone", "throughput with 2 replicas to the primary alone"} < {
            *findings(tmp_path)
        }


class TestLag:
    def test_on_a_system_of_its_own_the_limit_holds_and_the_running_one_is_left_alone(self, system, subject, tmp_path):
        before = (number_of_users(subject), system.server.pid)
        outcome = system.command(
            *("experiment", "lag", "--users=30000", "--max-lag-bytes=4194304", f"--output={tmp_path}")
        )
        assert (outcome.code, "every figure is within its limit" in outcome.stdout) == (0, True), outcome.stderr
        assert (number_of_users(subject), system.server.pid) == before
        limited = [value for name, value in findings(tmp_path).items() if name.startswith("highest") and "4.0" in name]
        assert len(limited) == 2
        assert all(0 < value <= 4 for value in limited)
        with (tmp_path / "lag-limited.nodes.csv").open() as lines:
            assert {row["node"] for row in csv.DictReader(lines)} == {"pg1", "pg2", "pg3"}

    def test_on_the_running_system_people_are_added(self, system, subject, tmp_path):
        before = number_of_users(subject)
        outcome = experiment(system, tmp_path, "lag", "--users=1000")
        assert (outcome.code, number_of_users(subject) - before) == (0, 1000), outcome.stderr


def number_of_users(subject: Subject) -> int:
    with subject.database(subject.primary()) as connection:
        return connection.execute("SELECT count(*) FROM users").fetchone()[0]


@pytest.mark.replication
class TestInterrupted:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_nothing_of_its_system_is_left(self, number, tmp_path):
        with temporary_state() as state:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "experiment", "lag", "--users=1000000", f"--output={tmp_path}"],
                cwd=PROJECT_DIR,
                env=System(state).environment(),
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
            )
            root = Path(process.stderr.readline().split()[-1])
            assert wait_until(lambda: len(postmasters(root)) == 3, timeout_seconds=60)
            process.send_signal(number)
            _, talk = process.communicate(timeout=120)
            assert (process.returncode, "is gone" in talk) == (130, True), talk
            assert not root.exists()
            assert not postmasters(root)


def postmasters(root: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if f"{root}/nodes/" in " ".join(process.info["cmdline"] or []) and "postgres" in process.info["cmdline"][0]
    ]


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (("read", "--mix=login=5,profile=5"), 2, "must add up to 100"),
            (("read", "--mix=cats=100"), 2, "the kinds are login, profile, search"),
            (("lag", "--max-lag-bytes=1000"), 2, "1000 is less than 2097152"),
            (("read", "--node-cpu=200"), 2, "200 is not between 1 and 100"),
            (("read", "--replicas=9"), 1, "--replicas 9 is more than 8"),
            (("read", "--running"), 1, "No application runs for"),
        ],
    )
    def test_says_what_is_wrong_before_anything_is_started(self, arguments, code, words):
        with temporary_state() as state:
            outcome = System(state).command("experiment", *arguments, "--no-input", f"--output={state.root}/out")
            assert (outcome.code, words in outcome.stderr) == (code, True), outcome.stderr

    def test_never_writes_over_results(self, tmp_path):
        (tmp_path / "report.html").write_text("of before")
        with temporary_state() as state:
            outcome = System(state).command("experiment", "read", f"--output={tmp_path}")
        assert (outcome.code, "is not empty" in outcome.stderr) == (1, True)

    def test_does_not_touch_a_running_system_unasked(self, system, tmp_path):
        outcome = system.command("experiment", "kill-primary", "--running", f"--output={tmp_path}/out")
        assert (outcome.code, "no terminal to ask on" in outcome.stderr) == (1, True)

    def test_names_what_to_do_without_jmeter(self, monkeypatch, tmp_path):
        monkeypatch.setenv("JMETER_HOME", str(tmp_path))
        with pytest.raises(Refused, match="use --load-tool built-in"):
            find_generator(LoadTool.JMETER)
        assert find_generator(None) == BUILT_IN


class TestLoad:
    @pytest.mark.parametrize("tool", LoadTool)
    def test_both_tools_make_the_same_load_and_write_the_same_file(self, tool, subject, tmp_path):
        starter = jmeter() if tool is LoadTool.JMETER else None
        samples = run(
            Generator(tool, starter), Plan.FAILOVER, subject, tmp_path, writers="1", readers="2", duration="3"
        )
        assert {sample.label for sample in samples} == {"register", "profile", "search"}
        assert summarise(samples).failed == 0
        assert all(("@" in sample.email) == (sample.label == "register") for sample in samples)

    def test_the_built_in_driver_believes_no_wrong_body(self, subject, tmp_path):
        wrong = Answer(200, {"userId": 0, "users": [{"name": "?"}]})
        with stub(lambda _: wrong) as server:
            samples = run(BUILT_IN, Plan.READ, subject, tmp_path, port=str(server.port), threads="2", duration="1")
        assert {sample.label for sample in samples} == {"login", "profile", "search"}
        assert not [sample for sample in samples if sample.is_success]


def run(generator: Generator, plan: Plan, subject: Subject, folder: Path, **properties: str) -> list[Sample]:
    mix = {"mix.login": "40", "mix.profile": "30", "mix.search": "30"} if plan is Plan.READ else {}
    with asked_for(subject, folder) as asked:
        given = {**asked.properties, "rampUp": "0", **mix, **properties}
        return read_results(Load(generator, plan, given, folder / "load.jtl").wait(10))


def require_control_groups() -> None:
    try:
        require_cpu_limits()
    except Refused as error:
        pytest.skip(str(error))


class TestCpuLimit:
    def test_a_node_gets_its_share_and_no_more(self, system, subject):
        require_control_groups()
        node = subject.local("pg3")
        busy = "SELECT count(*) FROM generate_series(1, 300000000)"
        with subject.database("pg3") as connection:
            backend = psutil.Process(connection.info.backend_pid)
            connection.execute("SET statement_timeout = 1500")
            shares = []
            for percent in (100.0, 10.0):
                before = backend.cpu_times()
                with cpu_limited([node], percent), pytest.raises(psycopg.errors.QueryCanceled):
                    connection.execute(busy)
                after = backend.cpu_times()
                shares.append((after.user + after.system - before.user - before.system) / 1.5)
        assert shares[1] < 0.25
        assert shares[0] > 1.5 * shares[1]

    def test_afterwards_nothing_is_left(self, subject):
        require_control_groups()
        with cpu_limited([subject.local("pg2")], 50.0):
            assert groups_of_nodes()
        assert not groups_of_nodes()


def groups_of_nodes() -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob("**/highload-*-pg*"))
