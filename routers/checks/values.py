"""Checks of `settings.ROUTERS` in itself: kinds of values, limits, and limits that contradict each other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from django.apps import apps
from django.core.checks import CheckMessage

from routers.checks.finding import finding
from routers.conf import Profile, RoutingSettings


def _is_names(value: Any) -> bool:
    # A string is a collection of strings too: its letters.
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(each, str) for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS: Final[Mapping[Any, tuple[str, Callable[[Any], bool]]]] = {
    bool: ("True or False", lambda value: value in (0, 1)),
    int: ("a whole number", _is_whole),
    int | None: ("a whole number or None", lambda value: value is None or _is_whole(value)),
    float: ("a number", _is_number),
    str: ("text", lambda value: value is None or isinstance(value, str)),
    "history_file": ("a path", lambda value: value is None or isinstance(value, str | os.PathLike)),
    tuple[str, ...]: ("a list of names", _is_names),
    frozenset[str]: ("a list of names", _is_names),
    # `routing_settings()` refuses what is no profile.
    Profile: ("a profile", lambda _: True),
}


def check_kinds(raw: Any) -> Iterator[CheckMessage]:
    """Values from the environment that nobody has converted: "false" is true, and "pg1" is three names."""
    if not isinstance(raw, Mapping):
        yield finding("routers.E012", "settings.ROUTERS is no dictionary.", hint="See the settings reference.")
        return
    hints = get_type_hints(RoutingSettings)
    for item in fields(RoutingSettings):
        key = item.name.upper()
        kind, is_of_kind = _KINDS.get(item.name) or _KINDS[hints[item.name]]
        if key in raw and not is_of_kind(raw[key]):
            shown = repr(raw[key]) if item.repr else f"of type {type(raw[key]).__name__}"
            yield finding("routers.E012", f"ROUTERS['{key}'] is {shown}.", hint=f"It must be {kind}.")


_POSITIVE: Final = (
    "probe_interval_seconds",
    "probe_timeout_seconds",
    "max_lag_bytes",
    "max_lag_seconds",
    "readmit_after",
    "primary_reads_per_second",
    "system_identifier",
)


def check_limits(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Limits that no measurement can meet. NaN compares as False with everything, so it would switch a limit off."""
    for name in _POSITIVE:
        value = getattr(conf, name)
        if value is not None and not 0 < value < math.inf:
            yield finding(
                "routers.E008", f"ROUTERS['{name.upper()}'] is {value}.", hint="It must be finite and greater than 0."
            )
    if not 0 <= conf.max_wait_seconds < math.inf:
        yield finding("routers.E008", f"ROUTERS['MAX_WAIT_SECONDS'] is {conf.max_wait_seconds}.", hint="0 waits never.")


def check_lag_and_interval(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Lag is the time since the primary was first seen at a position, so it is known once an interval."""
    if conf.max_lag_seconds < conf.probe_interval_seconds:
        yield finding(
            "routers.E009",
            f"ROUTERS['MAX_LAG_SECONDS'] ({conf.max_lag_seconds}) is shorter than "
            f"PROBE_INTERVAL_SECONDS ({conf.probe_interval_seconds}): every replica would seem to lag.",
            hint="Lag is known only as finely as the nodes are probed.",
        )


def check_wait_and_lag(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """A replica that has not caught up within `MAX_LAG_SECONDS` is not good any more, but is still waited for."""
    if conf.max_lag_seconds < conf.max_wait_seconds < math.inf:
        yield finding(
            "routers.W016",
            f"ROUTERS['MAX_WAIT_SECONDS'] ({conf.max_wait_seconds}) is longer than "
            f"MAX_LAG_SECONDS ({conf.max_lag_seconds}): reads hold their worker for a replica that may not serve them.",
            hint="Wait for a fraction of a second: the primary serves what no replica can.",
        )


# Labels that a project without these apps does not have to remove, and the one of Django's cache tables.
_NEED_NOT_BE_INSTALLED: Final = RoutingSettings().primary_apps | {"django_cache"}


def check_primary_apps(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """A label that names no app keeps no read on the primary."""
    installed = {app.label for app in apps.get_app_configs()}
    unknown = sorted(conf.primary_apps - installed - _NEED_NOT_BE_INSTALLED)
    if unknown:
        yield finding(
            "routers.E026",
            f"ROUTERS['PRIMARY_APPS'] names {', '.join(unknown)}, which is not installed.",
            hint=f"Use the labels of apps, not their dotted names: {', '.join(sorted(installed))}.",
        )


def check_history_file(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """A file that cannot be written is only logged, so its loss would be noticed after a promotion."""
    if not conf.history_file:
        return
    file = Path(conf.history_file)
    if not file.is_absolute():
        problem = "is relative: another file in each working directory"
    elif file.is_dir():
        problem = "is a directory"
    elif not os.access(file.parent, os.W_OK | os.X_OK):
        problem = "lies in a directory that this user cannot write to, or that is missing"
    else:
        return
    yield finding(
        "routers.W018",
        f"ROUTERS['HISTORY_FILE'] ({file}) {problem}. A restarted process could trust a returned old primary.",
        hint="Name a file, by its absolute path, in a directory of the user that serves requests.",
    )


CHECKS: Final = (
    check_limits,
    check_lag_and_interval,
    check_wait_and_lag,
    check_primary_apps,
    check_history_file,
)
