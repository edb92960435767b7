"""Finds replicas that do not follow, follow somebody else, or show old data. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Findings, Rule, critical, warning
from management.lag import Health
from management.output import show_seconds


def old_timeline(case: Case) -> Findings:
    """A replica of a history that a promotion has ended."""
    for name, status in case.survey.replicas.items():
        if name in case.followers and status.timeline < case.survey.timeline:
            yield critical(
                "old_timeline",
                name,
                f"{name} is on timeline {status.timeline}, the cluster on {case.survey.timeline}",
                "It did not follow the last promotion: it gets nothing new, and may have what nobody else has.",
                f"manage.py rejoin_node {name}",
            )


def wrong_source(case: Case) -> Findings:
    """A replica streams, but not from the primary."""
    left_behind = {finding.node for finding in old_timeline(case)}
    for name in case.replicas if case.survey.primary else ():
        source = case.survey.nodes[name].source
        if source not in {None, "unknown", case.survey.primary} and name not in left_behind:
            yield critical(
                "wrong_source",
                name,
                f"{name} streams from {source}, not from {case.survey.primary}",
                "It confirms no commit of the primary, and depends on a node that is none, or may fail before it.",
                case.setup(),
            )


def not_following(case: Case) -> Findings:
    """A replica is not connected, is catching up, or lags. By the limits of check_lag."""
    explained = {finding.node for rule in (old_timeline, wrong_source) for finding in rule(case)}
    for replica in case.lag.replicas if case.primary else ():
        name, what = replica.name, f"{replica.name}: {replica.reason}"
        if replica.health is Health.HEALTHY or name not in case.survey.replicas or name in explained:
            continue
        if replica.state is None:
            facts = case.facts.get(name)
            meaning = (
                "It gets nothing new. "
                + (f"It is told to follow {facts.configured_source or 'nobody'}. " if facts else "")
                + "Missing slot, wrong password or pg_hba.conf, removed WAL or a diverged history: its log says which."
            )
            last = f"manage.py rejoin_node {name}"
            yield critical("not_connected", name, what, meaning, case.setup(), "if that does not help:", last)
        elif replica.state != "streaming":
            meaning = "It was away and catches up; it shows old data until then."
            yield critical("not_streaming", name, what, meaning, "manage.py check_lag --watch 1")
        else:
            meaning = "It shows old data. Growing: a long query on it, a bulk load on the primary, a slow disk."
            remedy = "SELECT pid, now() - xact_start, query FROM pg_stat_activity ORDER BY xact_start;"
            yield critical("lags", name, what, meaning, "manage.py check_lag --watch 1", f"on {name}: {remedy}")


def replay_paused(case: Case) -> Findings:
    """A replica receives and does not show."""
    for name, facts in case.replicas.items():
        if facts.pause_state not in {None, "not paused"}:
            yield critical(
                "replay_paused",
                name,
                f"{name}: replay is {'paused' if facts.pause_state == 'paused' else 'about to pause'}",
                "It keeps receiving and shows nothing new: somebody asked for it, or settings are below the primary's.",
                f"on {name}: SELECT pg_wal_replay_resume();",
            )


def replay_delayed(case: Case) -> Findings:
    """A replica shows everything late, on purpose."""
    for name, facts in case.replicas.items():
        delay_ms = int(facts.settings["recovery_min_apply_delay"])
        if delay_ms:
            yield warning(
                "replay_delayed",
                name,
                f"{name}: recovery_min_apply_delay is {show_seconds(delay_ms / 1000)}",
                "Every read there is that old, and clients that wait for their own writes go to the primary.",
                f"on {name}: ALTER SYSTEM RESET recovery_min_apply_delay; SELECT pg_reload_conf();",
            )


RULES: Final[tuple[Rule, ...]] = (old_timeline, wrong_source, not_following, replay_paused, replay_delayed)
