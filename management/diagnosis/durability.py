"""Finds commits that hang, and commits that are acknowledged without a replica. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Findings, Rule, critical, warning
from management.output import show_seconds
from management.synchronous import StandbyList, SyncMode

_LET_GO: Final = (
    "or give up the guarantee, on the primary: "
    "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();"
)


def commits_hang(case: Case) -> Findings:
    """Too few replicas can confirm, or a commit has waited too long."""
    primary = case.primary
    if primary is None:
        return
    wanted, confirming, trip = primary.standby_list, primary.confirming, case.examination.round_trip
    waiting = "none waits yet"
    if primary.waiting_commits:
        waiting = f"{primary.waiting_commits} wait, the oldest for {show_seconds(primary.oldest_wait_seconds)}"
    if len(confirming) < wanted.count:
        names = ", ".join(wanted.names)
        what = f"commits hang: {wanted.count} of ({names}) must confirm, {len(confirming)} can; {waiting}"
    elif (primary.oldest_wait_seconds or 0) > case.limits.waiting_seconds or (trip and not trip.waited):
        what = f"commits hang: replicas are connected and do not confirm; {waiting}"
    else:
        return
    meaning = "Every write waits until a replica confirms. Do not cancel one: cancelled it is acknowledged unconfirmed."
    yield critical("commits_hang", case.survey.primary, what, meaning, f"{case.setup()} (keeps who streams)", _LET_GO)


def sync_absent(case: Case) -> Findings:
    """The list names who does not stream."""
    streaming = {sender.name for sender in case.primary.senders if sender.state == "streaming"} if case.primary else {}
    for name in case.primary.standby_list.names if case.primary else ():
        if name != "*" and name not in streaming:
            yield warning(
                "sync_absent",
                name if name in case.survey.nodes else None,
                f"the synchronous list names {name}, which does not stream from {case.survey.primary}",
                "It confirms nothing; when the others are gone too, commits hang.",
                case.setup(),
            )


def sync_differs(case: Case) -> Findings:
    """The list is not what was set up."""
    if case.primary is None or len(case.members) == 1:
        return
    asked, found = case.record.synchronous, case.primary.standby_list
    if asked.mode is SyncMode.OFF and not found.count:
        meaning = "A commit acknowledged just before the primary dies may be lost. That is how it was set up."
        remedy = case.setup("--sync quorum")
        yield warning("sync_off", None, "synchronous replication is off", meaning, remedy)
    elif not found.count:
        what = f"synchronous replication is off, the record asks for {asked.mode}"
        meaning = "Commits are acknowledged without a replica: those of the last moments are lost with the primary."
        yield critical("sync_missing", case.survey.primary, what, meaning, case.setup())
    elif found != StandbyList.parse(asked.setting()):
        listed = case.primary.settings["synchronous_standby_names"]
        what = f"the synchronous list is {listed}, the record has {asked.setting() or 'none'}"
        meaning = "It was changed by hand. After a failure promote_replica concludes from the record what is lost."
        yield warning("sync_differs", case.survey.primary, what, meaning, case.setup())


def acknowledged_early(case: Case) -> Findings:
    """A setting that acknowledges before the data is safe."""
    for name, facts in case.facts.items():
        for setting, meaning in (
            ("fsync", "A crash of its machine destroys its data."),
            ("full_page_writes", "A crash of its machine may destroy its data, and rejoin_node cannot rewind it."),
        ):
            if facts.settings[setting] == "off":
                remedy = f"on {name}: ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf();"
                yield critical(f"{setting}_off", name, f"{name}: {setting} is off", meaning, remedy)
        level = facts.settings["synchronous_commit"]
        if level in {"off", "local"}:
            what, meaning = (
                f"{name}: synchronous_commit is {level}",
                "Commits wait for no replica, whatever the list says.",
            )
            remedy = f"on {name}: ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();"
            kind = critical if name == case.survey.primary and case.record.synchronous.names else warning
            yield kind("synchronous_commit_off", name, what, meaning, remedy)


RULES: Final[tuple[Rule, ...]] = (commits_hang, sync_absent, sync_differs, acknowledged_early)
