"""The shell scripts, but Compose's: no known mistake in them. What they do is tested where it is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from management.state import PROJECT_DIR

SCRIPTS = [".ci/programs", ".ci/run", "deploy/start-all", "deploy/stop-all", "deploy/test", "tests/bare-machines"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_passes_shellcheck(script):
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    command = [shellcheck, "--external-sources", "--source-path=SCRIPTDIR", script]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert os.access(PROJECT_DIR / script, os.X_OK)


@pytest.mark.parametrize("wrong", [["--debian", "11"], ["--keep"], ["--only", "start-all"], ["--user", "root"]])
def test_bare_machines_refuses_what_it_does_not_know(wrong):
    done = subprocess.run(
        [PROJECT_DIR / "tests/bare-machines", *wrong], capture_output=True, text=True, check=False, timeout=10
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert wrong[0] in done.stderr
