"""Judges the round trip: a commit that was not confirmed, or did not arrive, or took too long. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Findings, Rule, critical, warning
from management.diagnosis.durability import commits_hang
from management.diagnosis.replicas import RULES as REPLICA_RULES
from management.output import show_seconds


def commit_unconfirmed(case: Case) -> Findings:
    """A test commit on the primary was not confirmed, or late."""
    trip = case.examination.round_trip
    if trip is None or any(commits_hang(case)):
        return
    if trip.commit_seconds is None:
        meaning = (
            "Writes wait or fail: the synchronous replicas do not confirm, or the primary has just frozen or ended."
        )
        remedy = "SELECT pid, wait_event, query FROM pg_stat_activity WHERE wait_event_type = 'IPC';"
        yield critical(
            "commit_unconfirmed",
            case.survey.primary,
            "a test commit was not confirmed in time",
            meaning,
            f"on the primary: {remedy}",
        )
    elif trip.commit_seconds > case.limits.slow_seconds:
        what = f"a test commit took {show_seconds(trip.commit_seconds)}"
        meaning = "So does every write: a slow disk, a slow network, or a busy synchronous replica."
        yield warning("commit_slow", case.survey.primary, what, meaning, "manage.py check_lag --watch 1")


def arrival_late(case: Case) -> Findings:
    """It did not arrive on a replica, or late, and nothing else says why."""
    trip = case.examination.round_trip
    explained = {finding.node for rule in REPLICA_RULES for finding in rule(case)}
    for name, seconds in trip.arrival_seconds.items() if trip else ():
        if name in explained or name not in case.followers:
            continue
        if seconds is None:
            meaning = "It is connected and replays nothing: a query of its own stands in the way, or it has frozen."
            remedy = "SELECT pid, now() - xact_start, query FROM pg_stat_activity ORDER BY xact_start;"
            yield critical(
                "no_arrival", name, f"a test commit did not arrive on {name} in time", meaning, f"on {name}: {remedy}"
            )
        elif seconds > case.limits.slow_seconds:
            what = f"a test commit arrived on {name} after {show_seconds(seconds)}"
            meaning = "Clients that read their own writes are sent to the primary meanwhile."
            yield warning("arrival_slow", name, what, meaning, "manage.py check_lag --watch 1")


RULES: Final[tuple[Rule, ...]] = (commit_unconfirmed, arrival_late)
