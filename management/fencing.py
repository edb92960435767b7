"""Keeps a node from accepting writes, or out of service. `rejoin` lets it back."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from management import provisioning
from management.connection import connect
from management.errors import Incomplete, OperationError, Refused
from management.host import Host
from management.local_node import STOP_IMMEDIATE, LocalNode
from management.patroni import require_no_patroni
from management.record import require_record, save_record
from management.succession import Succession, in_words
from management.synchronous import SynchronousReplication
from management.talk import Say
from routers.node import Role


def fence(node: LocalNode, host: Host, *, say: Say) -> None:
    """End the node if it runs, frozen or not, and leave a `standby.signal`. Repeatable.

    The signal first: whoever starts it in between gets a replica.

    Raises:
        OperationError: It does not end.
    """
    node.fence(host)
    if node.pid() is not None:
        node.kill()
        say(f"{node.name} killed")
    say(f"{node.name} fenced: its next start is read-only")


@dataclass(frozen=True, slots=True)
class FencePlan:
    """What fencing a node would do."""

    node: str
    found: str
    """What it is now, in words."""
    is_primary: bool
    """Of the cluster: no writes will be accepted afterwards."""
    synchronous: SynchronousReplication | None
    """Whom commits wait for afterwards. None: as before, or there is no primary to tell."""


@dataclass(frozen=True, slots=True)
class Fencing:
    """Takes one node of this machine out of service, dead, frozen or alive."""

    succession: Succession
    name: str
    accepts_outage: bool = False

    def plan(self) -> FencePlan:
        """What would be done now. Changes nothing.

        Raises:
            Refused: It is the primary, and an outage was not accepted; or it runs elsewhere.
        """
        succession = self.succession
        record = require_record(succession.state)
        _local(self.name, succession)
        survey = succession.survey()
        require_no_patroni(survey, succession.credentials.superuser)
        is_primary = self.name == survey.primary
        if is_primary and not self.accepts_outage:
            raise Refused(
                f"{self.name} is the primary: fenced, it would leave nobody to accept writes. `manage.py switchover` "
                "hands it over first; --accept-outage fences it nevertheless."
            )
        found = survey.nodes[self.name]
        words = f"{found.status.role} of timeline {found.status.timeline}" if found.status else str(found.evidence)
        names = [name for name in record.synchronous.names if name != self.name]
        is_listed = self.name in record.synchronous.names and survey.primary is not None and not is_primary
        synchronous = SynchronousReplication.choose(record.synchronous.mode, names) if is_listed else None
        return FencePlan(self.name, words, is_primary, synchronous)

    def carry_out(self, plan: FencePlan) -> FencePlan:
        """Do it.

        Raises:
            Incomplete: Something was changed and a later step failed; says which and what to run.
        """
        succession = self.succession
        record, survey = require_record(succession.state), succession.survey()
        node = _local(self.name, succession)
        try:
            if plan.synchronous is not None and survey.primary is not None:
                # Before it stops: commits would wait for it.
                with connect(record.node(survey.primary), succession.credentials.superuser) as connection:
                    provisioning.set_synchronous(connection, plan.synchronous)
                record = record.with_synchronous(plan.synchronous)
                succession.say(f"commits wait for {plan.synchronous.setting() or 'nobody'}")
            found = survey.nodes[self.name].status
            if found is not None and found.role is Role.REPLICA:
                node.fence(record.host())
                node.stop(how=STOP_IMMEDIATE)
                succession.say(f"{node.name} stopped")
            else:
                fence(node, record.host(), say=succession.say)
            save_record(succession.state, record.with_fenced({self.name}))
        except (psycopg.Error, OperationError, OSError, KeyboardInterrupt) as error:
            raise Incomplete(f"{self.name} may not be fenced yet: {in_words(error)} Run the command again.") from error
        return plan


def _local(name: str, succession: Succession) -> LocalNode:
    node = succession.record.local(name, succession.state)
    if node is None:
        raise Refused(
            f"{name} does not run on this machine. On its host: touch $PGDATA/standby.signal, then end its "
            "postmaster with pg_ctl stop --mode=immediate, or kill -9 if it is frozen."
        )
    return node
