"""The class for `DATABASE_ROUTERS`. Asks the scope, the snapshot and the settings; runs no query."""

from __future__ import annotations

from itertools import count
from random import randrange
from typing import Any, Final

from django.db import connections
from django.db.models import Model

from routers import health, metrics
from routers.conf import PRIMARY_ALIAS, Profile, RoutingSettings, routing_settings
from routers.request_state import current_scope, pin_to_primary
from routers.selection import Choice, Reason, choose_read_node, may_keep


class PrimaryReplicaRouter:
    """Reads of a request go to one good replica, everything else to the primary."""

    def __init__(self) -> None:
        # Each process starts at a random turn, so that many do not all begin with the same replica.
        self._turns: Final = count(randrange(1024))  # noqa: S311 - load balancing, not cryptography

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The alias a read of `model` goes to. Microseconds; blocks only for a process's first snapshot."""
        alias, reason = self._decide(routing_settings(), model, hints.get("instance"))
        chosen = alias or PRIMARY_ALIAS
        metrics.DECISIONS.labels(chosen, reason.value).inc()
        return chosen

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Always the primary. None would fall back to the instance's own alias: a write to a replica."""
        pin_to_primary()
        metrics.DECISIONS.labels(PRIMARY_ALIAS, Reason.WRITE.value).inc()
        return PRIMARY_ALIAS

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        """Objects of this cluster may refer to each other, whichever node they were read from."""
        cluster = {PRIMARY_ALIAS, *routing_settings().nodes}
        return True if {obj1._state.db, obj2._state.db} <= cluster | {None} else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Never on a node's alias: replicas receive the schema by replication."""
        return False if db in routing_settings().nodes else None

    def _decide(self, conf: RoutingSettings, model: type[Model], instance: Model | None) -> Choice:
        scope = current_scope()
        if conf.profile is Profile.MASTER_ONLY:
            return Choice(None, Reason.MASTER_ONLY)
        if instance is not None and instance._state.db == PRIMARY_ALIAS:
            return Choice(None, Reason.INSTANCE_OF_PRIMARY)
        if scope is None:
            return Choice(None, Reason.OUTSIDE_REQUEST)
        if scope.pinned:
            return Choice(None, Reason.PINNED)
        if connections[PRIMARY_ALIAS].in_atomic_block:
            return Choice(None, Reason.IN_TRANSACTION)
        if model._meta.app_label in conf.primary_apps:
            return Choice(None, Reason.PRIMARY_APP)
        topology = health.topology()
        if scope.node is not None and may_keep(topology, scope.node):
            return Choice(scope.node, Reason.SAME_NODE)
        choice = choose_read_node(topology, turn=next(self._turns))
        scope.node = choice.alias
        # One page never comes from two points in time: what began on the primary stays there.
        scope.pinned = choice.reason is Reason.NO_GOOD_REPLICA
        return choice
