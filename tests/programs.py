"""Programs of others that some tests need: found, or the test is skipped, or fails where all must be there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from management.state import PROJECT_DIR

REQUIRED_VARIABLE = "HIGHLOAD_TEST_REQUIRES_PROGRAMS"
"""Set where a missing program is a failure: there no test may be skipped unnoticed."""


def program(name: str, *, package: str) -> Path:
    """Its path. `package` says in words how it is installed."""
    found = shutil.which(name)
    if found is None:
        _missing(name, package)
    return Path(str(found))


def jmeter() -> Path:
    """Apache JMeter's starter: JMETER_HOME's, the one on the path, or the one that `.ci/programs` puts aside."""
    homes = [os.environ.get("JMETER_HOME"), PROJECT_DIR / ".programs" / "jmeter"]
    for home in homes:
        if home and (starter := Path(home) / "bin" / "jmeter").is_file():
            return starter
    return program("jmeter", package="Apache JMeter 5.6: unpack it and set JMETER_HOME")


def newman() -> Path:
    """Postman's runner: the one that `.ci/programs` puts aside, or the one on the path."""
    aside = PROJECT_DIR / ".programs" / "newman" / "node_modules" / ".bin" / "newman"
    return aside if aside.is_file() else program("newman", package="npm install --global newman@6")


def _missing(name: str, package: str) -> None:
    reason = f"{name} is not installed ({package}; or all that tests drive: .ci/programs, as root)"
    if os.environ.get(REQUIRED_VARIABLE):
        pytest.fail(reason)
    pytest.skip(reason)
