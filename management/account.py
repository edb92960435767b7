"""The user of this machine as whom a program runs, and what that user can reach."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Account:
    """Whose rights a program gets."""

    name: str | None
    """None: those of the one who runs this."""

    def own(self, path: Path) -> None:
        """Give a file or directory to this user."""
        if self.name is not None:
            entry = pwd.getpwnam(self.name)
            # Never through a link that this user may have put there.
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def reaches(self, directory: Path) -> bool:
        """Whether this user may write in this directory."""
        test = subprocess.run(["test", "-w", str(directory)], check=False, cwd="/", **self.identity())
        return test.returncode == 0

    def identity(self) -> dict[str, Any]:
        """What `subprocess` is told, to start a program as this user."""
        return {"user": self.name, "group": pwd.getpwnam(self.name).pw_gid, "extra_groups": []} if self.name else {}


def first_unprivileged(names: Sequence[str]) -> str | None:
    """The first of these users that exists and is not root, or None."""
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return name
    return None
