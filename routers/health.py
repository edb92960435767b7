"""The background prober of this process, and the last topology it saw.

One thread with an event loop asks every node at a jittered interval. Routing reads `topology()` from
memory. The thread starts at the first need, so after a server has forked its workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.signals import setting_changed

from routers import metrics, open_connections
from routers.conf import RoutingSettings, routing_settings
from routers.memory import KnownHistory, read_history, remember_history
from routers.node import Answer, Topology, Unreachable
from routers.observations import Observations
from routers.probe import ProbeFailed, Prober
from routers.topology import Cuts

logger = logging.getLogger(__name__)

_PROOF: Final = frozenset({"channel_binding", "require_auth", "passfile"})
"""Keywords of libpq that say how the two sides prove who they are."""


class HealthMonitor:
    """Keeps the topology of one cluster fresh. Safe to use from several threads."""

    def __init__(self, conf: RoutingSettings, conninfos: dict[str, dict[str, Any]]) -> None:
        self._conf = conf
        self._probers = {
            alias: Prober(conninfo, timeout_seconds=conf.probe_timeout_seconds) for alias, conninfo in conninfos.items()
        }
        self._turns = {alias: asyncio.Lock() for alias in conninfos}
        self._lock = threading.Lock()
        self._refreshing: Future[None] | None = None
        self._has_had_primary = False
        self._history_file = Path(conf.history_file) if conf.history_file else None
        known = read_history(self._history_file) if self._history_file else None
        if known and conf.system_identifier not in {None, known.system_identifier}:
            known = None
        self._observations = Observations(
            conninfos,
            limits=conf.limits,
            known=Topology(
                system_identifier=conf.system_identifier or (known.system_identifier if known else None),
                timeline=known.timeline if known else 0,
            ),
        )
        self._topology = self._observations.topology
        # Asked at every decision: Thread.is_alive() would take a lock each time.
        self._is_alive = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="routers-health", daemon=True)

    @property
    def topology(self) -> Topology:
        """The newest snapshot. Asks no node and does not block."""
        return self._topology

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._is_alive

    def start(self) -> None:
        """Start probing and wait for the first two rounds, each at most twice the probe timeout."""
        self._is_alive = True
        self._thread.start()
        self.refresh()
        self._note(lambda: self._observations.end_first_round(now=time.monotonic()))
        is_ready = len(self.topology.good_replicas) + 1 >= len(self._probers)
        if not is_ready:
            self.refresh()

    def stop(self) -> None:
        """Stop probing and close the connections. Blocks until the thread has ended; a second call does nothing."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def refresh(self) -> Topology:
        """Ask every node now and wait for the answers: milliseconds, or up to twice the probe timeout.

        Callers at the same time share one round.
        """
        with self._lock:
            if self._refreshing is None or self._refreshing.done():
                if not self.is_alive:
                    return self.topology
                self._refreshing = asyncio.run_coroutine_threadsafe(self._ask_all(), self._loop)
            running = self._refreshing
        try:
            running.result(timeout=4 * self._conf.probe_timeout_seconds + 1)
        except (FutureTimeoutError, CancelledError):
            logger.warning("the nodes were not all asked in time; the last snapshot stands")
        return self.topology

    def ask_soon(self, alias: str) -> None:
        """Ask a node out of turn, because something about it is in doubt. Does not wait."""
        if self.is_alive:
            asyncio.run_coroutine_threadsafe(self._ask(alias), self._loop)

    def suspect(self, alias: str, reason: str) -> None:
        """Eject a node at once, because a query on it has just failed. Probing readmits it."""
        logger.warning("node %s ejected: %s", alias, reason)
        metrics.EJECTIONS.labels(alias).inc()
        self._record(alias, Unreachable(reason))

    def learn_timeline(self, timeline: int) -> Topology:
        """A client's token shows that a newer timeline exists: trust no primary of an older one. Asks every node."""
        topology = self.refresh()
        if timeline <= topology.timeline:
            return topology
        logger.warning("a client has seen timeline %s; this process knew %s", timeline, topology.timeline)
        self._note(lambda: self._observations.learn_timeline(timeline, now=time.monotonic()))
        return self.topology

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        # The loop itself keeps no task alive.
        self._watching = [self._loop.create_task(self._watch(alias)) for alias in self._probers]
        try:
            self._loop.run_forever()
        finally:
            self._is_alive = False
            self._loop.run_until_complete(self._shut_down())
            self._loop.close()

    async def _shut_down(self) -> None:
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(prober.close() for prober in self._probers.values()), return_exceptions=True)

    async def _watch(self, alias: str) -> None:
        while True:
            # Jitter keeps many processes from asking in step.
            await asyncio.sleep(self._conf.probe_interval_seconds * random.uniform(0.75, 1.25))  # noqa: S311
            await self._ask(alias)

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._ask(alias) for alias in self._probers))

    async def _ask(self, alias: str) -> None:
        async with self._turns[alias]:
            started_at = time.monotonic()
            try:
                answer: Answer = await self._probers[alias].probe()
            except ProbeFailed as error:
                answer = Unreachable(str(error))
            except Exception as error:
                # Whatever it is, this task must go on: a node that is no longer asked would stay good for ever.
                logger.exception("probing %s failed", alias)
                answer = Unreachable(f"probing failed: {error!r}")
            metrics.PROBE_SECONDS.labels(alias).observe(time.monotonic() - started_at)
            self._record(alias, answer)

    def _record(self, alias: str, answer: Answer) -> None:
        self._note(lambda: self._observations.record(alias, answer, now=time.monotonic()))

    def _note(self, observe: Callable[[], Cuts]) -> None:
        with self._lock:
            cuts = observe()
            before, after = self._topology, self._observations.topology
            if after is not before:
                self._tell(before, after)
                self._topology = after
        _carry_out(cuts)

    def _tell(self, before: Topology, after: Topology) -> None:
        """Remember, log and count what has changed, before anybody acts on it."""
        if after.timeline != before.timeline and self._history_file and after.system_identifier is not None:
            remember_history(self._history_file, KnownHistory(after.system_identifier, after.timeline))
        if after.primary != before.primary:
            is_first, self._has_had_primary = not self._has_had_primary, True
            logger.log(
                logging.INFO if is_first else logging.WARNING,
                "primary is now %s (was %s), timeline %s",
                after.primary,
                before.primary,
                after.timeline,
            )
            metrics.PRIMARY_CHANGES.inc(0 if is_first else 1)
        metrics.show_topology(after)


def _carry_out(cuts: Cuts) -> None:
    for alias in cuts.reads:
        open_connections.cut_reads(alias)
    for alias in cuts.writes:
        open_connections.cut_writes(alias)
    for alias in cuts.commits:
        open_connections.cut_commits(alias)


_monitor: HealthMonitor | None = None
_monitor_lock = threading.Lock()


def monitor() -> HealthMonitor:
    """This process's monitor. The first call starts it and waits for the first round of answers."""
    global _monitor  # noqa: PLW0603 - one monitor a process is the point of this room
    running = _monitor
    if running is not None and running.is_alive:
        return running
    with _monitor_lock:
        if _monitor is None or not _monitor.is_alive:
            conf = routing_settings()
            started = HealthMonitor(conf, _conninfos(conf))
            started.start()
            _monitor = started
        return _monitor


def topology() -> Topology:
    """The last snapshot of the nodes; from memory after the first call."""
    return monitor().topology


def stop_monitor() -> None:
    """Stop this process's monitor, if it runs. The next need starts another."""
    global _monitor
    with _monitor_lock:
        running, _monitor = _monitor, None
    if running is not None:
        running.stop()


def _conninfos(conf: RoutingSettings) -> dict[str, dict[str, Any]]:
    databases = settings.DATABASES
    return {
        alias: {
            **_transport(databases[alias].get("OPTIONS", {})),
            "host": databases[alias]["HOST"],
            "port": databases[alias]["PORT"],
            "dbname": conf.probe_database or databases[alias]["NAME"],
            "user": conf.probe_user or databases[alias]["USER"],
            "password": conf.probe_password or databases[alias]["PASSWORD"],
            "application_name": "highload-prober",
        }
        for alias in conf.nodes
    }


def _transport(options: dict[str, Any]) -> dict[str, Any]:
    """What says how a connection is protected; the prober sets its own time-outs and session parameters."""
    return {name: value for name, value in options.items() if name.startswith(("ssl", "gss", "krb")) or name in _PROOF}


def _forget_in_child() -> None:
    """A thread does not survive fork(): the child starts its own monitor."""
    global _monitor, _monitor_lock
    _monitor, _monitor_lock = None, threading.Lock()


def _restart(*, setting: str, **_: object) -> None:
    if setting in {"ROUTERS", "DATABASES"}:
        stop_monitor()


os.register_at_fork(after_in_child=_forget_in_child)
setting_changed.connect(_restart)
