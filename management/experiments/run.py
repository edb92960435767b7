"""Which experiments a run consists of, and on which system each is made. From the options to the report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

from management.connection import connect
from management.credentials import operator_credentials
from management.errors import Refused, Unknown
from management.experiments.chapter import Chapter
from management.experiments.cpu_limit import require_cpu_limits
from management.experiments.failover import run_failover
from management.experiments.lag import run_lag
from management.experiments.load import Generator
from management.experiments.options import ALL_REPLICAS, Name, RunOptions
from management.experiments.people import has_people
from management.experiments.read import run_read
from management.experiments.report import Report, circumstances
from management.experiments.scaling import run_scaling
from management.experiments.subject import Subject, embedded, running
from management.state import StateDirectory
from management.talk import Say

Experiment = Callable[[Subject, Path], Chapter]
System = Callable[[], AbstractContextManager[Subject]]


def run_experiments(
    options: RunOptions, generator: Generator, state: StateDirectory, folder: Path, *, command: str, say: Say
) -> Report:
    """Make them one after the other, each system as long as it is needed. Blocks for minutes.

    Raises:
        Refused: The machine does not allow what is asked, or the running system is not in order.
        Incomplete: The primary of a running system was killed and a later step failed.
    """
    left_out: list[str] = []
    chapters: list[Chapter] = []
    versions: set[str] = set()
    for system, experiments in _programme(options, state, left_out, say):
        with system() as subject:
            versions.add(_postgresql_version(subject))
            chapters += [experiment(subject, folder) for experiment in experiments]
    return Report(
        circumstances(
            command=command,
            load_tool=generator.tool,
            postgresql=" and ".join(sorted(versions)),
            is_embedded=not options.is_running,
        ),
        tuple(chapters),
        tuple(left_out),
    )


def _programme(
    options: RunOptions, state: StateDirectory, left_out: list[str], say: Say
) -> list[tuple[System, list[Experiment]]]:
    """What is made on which system, in order."""
    lag = partial(run_lag, count=options.users, max_lag_bytes=options.max_lag_bytes)
    read = _seeded(options, partial(_read, options))
    scaling = _seeded(options, partial(_scaling, options))
    failover = _seeded(options, lambda subject, folder: run_failover(subject, options.failover, folder))

    def system(replicas: int = options.replicas) -> AbstractContextManager[Subject]:
        return running(state, say=say) if options.is_running else embedded(replicas, say=say)

    match options.name:
        case Name.READ:
            return [(system, [read if options.node_cpu_percent is None else scaling])]
        case Name.LAG:
            return [(system, [lag])]
        case Name.KILL_PRIMARY:
            return [(system, [failover])]
    programme: list[tuple[System, list[Experiment]]] = [(system, [lag, read, failover])]
    if options.node_cpu_percent is None:
        left_out.append("throughput against the number of replicas: give --node-cpu.")
    else:
        try:
            require_cpu_limits()
        except Refused as error:
            left_out.append(f"throughput against the number of replicas: {error}")
        else:
            # It has more kinds of rounds than the comparison of two profiles, and needs fewer of each.
            fewer = replace(options, read=replace(options.read, rounds=(options.read.rounds + 2) // 3))
            programme.append((partial(system, ALL_REPLICAS), [_seeded(fewer, partial(_scaling, fewer))]))
    return programme


def _read(options: RunOptions, subject: Subject, folder: Path) -> Chapter:
    return run_read(subject, options.read, folder)


def _scaling(options: RunOptions, subject: Subject, folder: Path) -> Chapter:
    assert options.node_cpu_percent is not None  # noqa: S101 - else it is not in the programme
    return run_scaling(subject, options.read, folder, percent=options.node_cpu_percent)


def _seeded(options: RunOptions, experiment: Experiment) -> Experiment:
    """The experiment, with people there to be asked for."""

    def on_people(subject: Subject, folder: Path) -> Chapter:
        if not has_people(subject):
            if subject.keeps_users:
                raise Refused("There are no seeded people to ask for. Add some first: `manage.py seed_users --append`.")
            subject.say(f"seeding {options.users} people")
            subject.seed(options.users)
        return experiment(subject, folder)

    return on_people


def _postgresql_version(subject: Subject) -> str:
    node = subject.record.node(subject.primary())
    with connect(node, operator_credentials(subject.state).superuser) as connection:
        row = connection.execute("SELECT current_setting('server_version')").fetchone()
    if row is None:
        raise Unknown(f"{node.name} does not say which PostgreSQL it is.")
    # Debian adds its package's name.
    return str(row[0]).split(" ", maxsplit=1)[0]
