"""The load of an experiment: a plan of `jmeter/`, run by JMeter where it is installed, else by the built-in driver.

Both are programs of their own with the same properties, the same mix and the same result file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from management.credentials import write_private
from management.errors import OperationError, Refused
from management.processes import wait_until
from management.state import PROJECT_DIR

PLANS: Final = PROJECT_DIR / "jmeter"
OLDEST_JMETER: Final = (5, 0)
_VERSION: Final = re.compile(r"\b(\d+)\.(\d+)(?:\.\d+)?\b")
_REPEATED_WARNING: Final = "org.apache.jmeter.protocol.http.sampler.HTTPSamplerBase"
"""Says at each request that a cookie manager supersedes another (apache/jmeter #6457)."""
_GRACE_SECONDS: Final = 60.0
"""For a load tool to start and to finish what is under way."""


class LoadTool(StrEnum):
    """Who makes the requests."""

    JMETER = "jmeter"
    BUILT_IN = "built-in"


class Plan(StrEnum):
    """What is requested: the plans of `jmeter/`."""

    READ = "read"
    FAILOVER = "failover"


@dataclass(frozen=True, slots=True)
class Generator:
    """A load tool that was found."""

    tool: LoadTool
    starter: Path | None = None
    """JMeter's. None for the built-in driver."""

    def command(self, plan: Plan, properties: Path, results: Path) -> list[str]:
        """Its command line."""
        if self.starter is None:
            driver = [sys.executable, "-m", "management.experiments.driver"]
            return [*driver, plan, str(properties), str(results)]
        files = {"-t": PLANS / f"{plan}.jmx", "-q": properties, "-l": results, "-j": results.with_suffix(".log")}
        words = (word for option, file in files.items() for word in (option, str(file)))
        return [str(self.starter), "-n", *words, f"-L{_REPEATED_WARNING}=ERROR"]


def find_generator(wanted: LoadTool | None) -> Generator:
    """The one that is wanted; None: JMeter where it is installed.

    Raises:
        Refused: JMeter is wanted and not there, or too old.
    """
    if wanted is LoadTool.BUILT_IN:
        return Generator(LoadTool.BUILT_IN)
    starter = _find_jmeter()
    if starter is not None:
        return Generator(LoadTool.JMETER, starter)
    if wanted is LoadTool.JMETER:
        raise Refused(
            f"JMeter {OLDEST_JMETER[0]} or newer was not found: not in JMETER_HOME and not on the path. "
            "Unpack Apache's and set JMETER_HOME, or use --load-tool built-in."
        )
    return Generator(LoadTool.BUILT_IN)


def _find_jmeter() -> Path | None:
    home = os.environ.get("JMETER_HOME")
    starter = Path(home) / "bin" / "jmeter" if home else Path(shutil.which("jmeter") or "")
    if not starter.is_file():
        return None
    # Debian's own is 2.13, which does not even start on today's Java.
    asked = [str(starter), "--version", "-j", os.devnull]
    words = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout
    versions = [(int(major), int(minor)) for major, minor in _VERSION.findall(words)]
    return starter if max(versions, default=(0, 0)) >= OLDEST_JMETER else None


class Load:
    """One run of a plan: begun, and waited for."""

    def __init__(self, generator: Generator, plan: Plan, properties: Mapping[str, str], results: Path) -> None:
        self._properties = results.with_suffix(".properties")
        self._results = results
        self._log = results.with_suffix(".out")
        # The password of the people is in it.
        write_private(self._properties, "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items()))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                generator.command(plan, self._properties, results),
                cwd=PROJECT_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_begin(self) -> None:
        """Block until the load tool has started and its requests begin.

        Raises:
            OperationError: It does not.
        """
        # Both make the result file just before their first request.
        if not wait_until(lambda: self._results.exists() or not self.is_running(), timeout_seconds=_GRACE_SECONDS):
            raise OperationError(f"The load did not begin within {_GRACE_SECONDS:.0f} s; see {self._log}")
        self.require_running()

    def require_running(self) -> None:
        """Do nothing while it is at it.

        Raises:
            OperationError: It has ended already.
        """
        if not self.is_running():
            raise OperationError(f"The load has ended before its time: {self._last_words()} ({self._log})")

    def run_on(self, seconds: float) -> None:
        """Block while it goes on for so long, or until it ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def is_running(self) -> bool:
        """Whether it is still at it."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> Path:
        """Wait for its end, at most a minute longer than `seconds`; the result file.

        Raises:
            OperationError: It failed, or does not end.
        """
        try:
            code = self._process.wait(seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise OperationError(f"The load did not end after {seconds:.0f} s; see {self._log}") from error
        finally:
            self.stop()
        if code:
            raise OperationError(f"The load ended with exit code {code}: {self._last_words()} ({self._log})")
        return self._results

    def stop(self) -> None:
        """End it, if it still runs, and delete the file with the password."""
        if self.is_running():
            # JMeter's starter is a shell with the JVM as its child.
            os.killpg(self._process.pid, 9)
            self._process.wait()
        self._properties.unlink(missing_ok=True)

    def _last_words(self) -> str:
        return " ".join(self._log.read_text(errors="replace").split())[-400:]


def _escaped(value: str) -> str:
    r"""A value in a file of Java properties.

    >>> print(_escaped("a b"), _escaped("ж"))
    a\u0020b \u0436
    """
    # Java drops spaces before a value.
    return "".join(
        character if character.isascii() and character not in " \\" else f"\\u{ord(character):04x}"
        for character in value
    )
