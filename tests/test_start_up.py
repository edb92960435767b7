"""A command imports nothing heavy before it begins its work, and starts as Django's commands do."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from management.state import PROJECT_DIR

HEAVY = (
    "django.contrib.admin",
    "django.db.models",
    "django.template",
    "django_prometheus",
    "drf_spectacular",
    "faker",
    "matplotlib",
    "numpy",
    "prometheus_client",
    "rest_framework",
    "rich",
    "users.models",
)
COMMANDS = sorted(path.stem for path in (PROJECT_DIR / "management/management/commands").glob("[a-z]*.py"))
REFUSED = (
    ("check_lag",),
    ("promote_replica", "--no-input"),
    ("ensure_admin",),
    ("seed_users", "--count=0"),
    ("experiment", "read", "--replicas=99"),
)
STARTS = (
    *(("manage.py", name, "--help") for name in COMMANDS),
    *(("manage.py", *line) for line in REFUSED),
    ("deploy.start_all", "--help"),
    ("deploy.stop_all", "--help"),
)
PROGRAM = """
import json, runpy, sys
starts, heavy, found = *json.load(sys.stdin), {}
sys.stdout, answer = sys.stderr, sys.stdout
for start in starts:
    sys.argv = start
    try:
        run = runpy.run_path if start[0].endswith(".py") else runpy.run_module
        run(start[0], run_name="__main__")
    except SystemExit:
        pass
    for name in heavy:
        if name in sys.modules:
            found.setdefault(name, " ".join(start))
json.dump(found, answer)
"""
"""Starts one after the other in one interpreter; says which was the first to import a heavy module."""


def run(state: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HIGHLOAD_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT_DIR,
        # As where servers were set up by somebody else: without a key there is nothing to start for.
        env={**own, "HIGHLOAD_STATE": str(state), "HIGHLOAD_SECRET_KEY": "secret"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def heavy_imports(state: Path, *starts: Sequence[str]) -> dict[str, str]:
    done = run(state, "-c", PROGRAM, stdin=json.dumps([starts, HEAVY]))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestImports:
    def test_nothing_heavy_before_the_work_begins(self, tmp_path):
        assert heavy_imports(tmp_path, *STARTS) == {}

    def test_control_a_command_that_is_started_with_the_application_is_found_out(self, tmp_path):
        found = heavy_imports(tmp_path, ("manage.py", "migrate", "--help"))
        assert found.keys() >= {"django.contrib.admin", "rest_framework", "users.models"}

    @pytest.mark.parametrize("name", HEAVY)
    def test_control_every_name_is_that_of_a_module(self, name):
        assert importlib.util.find_spec(name) is not None


class TestCommandLine:
    def test_help_lists_the_commands(self, tmp_path):
        listed = run(tmp_path, "manage.py", "help", "--commands").stdout.split()
        assert {*COMMANDS, "migrate"} <= set(listed)

    def test_help_shows_what_the_command_shows(self, tmp_path):
        shown = run(tmp_path, "manage.py", "help", "check_lag").stdout
        assert shown == run(tmp_path, "manage.py", "check_lag", "--help").stdout

    def test_settings_named_on_the_command_line_are_read_before_anything_is_done(self, tmp_path):
        done = run(tmp_path, "manage.py", "check_lag", "--settings=nowhere")
        assert (done.returncode, "No module named 'nowhere'" in done.stderr) == (1, True)

    def test_an_unknown_command_is_refused_as_django_refuses_it(self, tmp_path):
        done = run(tmp_path, "manage.py", "check_log")
        assert (done.returncode, "Did you mean check_lag?" in done.stderr) == (1, True)
