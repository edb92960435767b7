"""The class for `DATABASE_ROUTERS`. Asks the scope, the snapshot and the settings."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import connections
from django.db.models import Model
from prometheus_client import Counter

from routers import health, metrics, placement
from routers.conf import PRIMARY_ALIAS, Profile, RoutingSettings, routing_settings
from routers.errors import PrimaryUnavailable
from routers.request_state import Scope, current_scope, pin_to_primary
from routers.selection import Choice, Reason, may_keep


class PrimaryReplicaRouter:
    """Reads of a request go to one good replica, everything else to the primary."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The alias a read of `model` goes to. Microseconds, and no query, unless a token demands one.

        Raises:
            PrimaryOverloaded: No replica can serve it, and the primary's budget is spent.
        """
        conf, scope = routing_settings(), current_scope()
        choice = _decide(conf, scope, model, hints.get("instance"))
        chosen = choice.alias or PRIMARY_ALIAS
        _counter(chosen, choice.reason).inc()
        if scope is not None:
            scope.reason = choice.reason
            scope.is_reading_default = chosen == PRIMARY_ALIAS
        return chosen

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Always the primary. None would fall back to the instance's own alias: a write to a replica.

        Raises:
            PrimaryUnavailable: In a request, while the commit would wait for replicas that are not there.
        """
        conf, scope = routing_settings(), current_scope()
        if scope is not None:
            pin_to_primary()
            # A refused write shows the primary's state too: "this name is taken".
            if conf.profile is Profile.REPLICATION:
                placement.judge(scope)
                scope.has_read_primary = True
            if health.topology().is_stuck:
                raise PrimaryUnavailable(
                    f"{health.topology().primary} has no synchronous replica: a commit would wait until one is back; "
                    "`manage.py setup_replication` brings it back or takes it off the list"
                )
        _counter(PRIMARY_ALIAS, Reason.WRITE).inc()
        return PRIMARY_ALIAS

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        """Objects of this cluster may refer to each other, whichever node they were read from."""
        cluster = {PRIMARY_ALIAS, *routing_settings().nodes}
        return True if {obj1._state.db, obj2._state.db} <= cluster | {None} else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Never on a node's alias: replicas receive the schema by replication."""
        return False if db in routing_settings().nodes else None


def _decide(conf: RoutingSettings, scope: Scope | None, model: type[Model], instance: Model | None) -> Choice:
    if conf.profile is Profile.MASTER_ONLY:
        return Choice(None, Reason.MASTER_ONLY)
    if scope is None:
        return Choice(None, Reason.OUTSIDE_REQUEST)
    kept = _kept_on_primary(conf, scope, model, instance)
    if kept is not None:
        return Choice(None, kept)
    if conf.profile is Profile.OBSERVE:
        observed = placement.observe(scope)
        metrics.OBSERVED.labels(observed.alias or PRIMARY_ALIAS, observed.reason.value).inc()
        return Choice(None, Reason.OBSERVED)
    choice = _keep_or_place(conf, scope)
    scope.has_read_primary |= choice.alias is None
    return choice


def _kept_on_primary(conf: RoutingSettings, scope: Scope, model: type[Model], instance: Model | None) -> Reason | None:
    """Why this read must be answered by the primary. None: any node may."""
    if scope.pinned:
        reason = Reason.PINNED
    elif connections[PRIMARY_ALIAS].in_atomic_block:
        reason = Reason.IN_TRANSACTION
    elif model._meta.app_label in conf.primary_apps:
        # Without a primary the freshest replica is better than an error page.
        return Reason.PRIMARY_APP if health.topology().primary is not None else None
    elif instance is not None and instance._state.db == PRIMARY_ALIAS and conf.profile is Profile.REPLICATION:
        reason = Reason.INSTANCE_OF_PRIMARY
    else:
        return None
    if conf.profile is Profile.REPLICATION:
        placement.judge(scope)
        scope.has_read_primary = True
    return reason


def _keep_or_place(conf: RoutingSettings, scope: Scope) -> Choice:
    if scope.node is None:
        return placement.place(scope, conf)
    if scope.node == PRIMARY_ALIAS:
        return Choice(None, Reason.SAME_NODE)
    if may_keep(health.topology(), scope.node):
        return Choice(scope.node, Reason.SAME_NODE)
    return placement.move(scope, conf)


@cache
def _counter(alias: str, reason: Reason) -> Counter:
    """The labels are few; looking them up anew would cost more than the decision."""
    return metrics.DECISIONS.labels(alias, reason.value)
