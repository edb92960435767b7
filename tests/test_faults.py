"""What the history checker says while nodes of a real system die, freeze and fall behind under load."""

from __future__ import annotations

import pytest

from management.history.run import run_history
from tests import faults
from tests.faults import FAULTS, Fault

pytestmark = pytest.mark.replication

SECONDS = 8.0
QUICK = {
    faults.kill_the_first_replica,
    faults.kill_both_replicas,
    faults.freeze_the_first_replica,
    faults.hold_replay_on_both,
    faults.freeze_the_primary_promote_and_thaw_it,
    faults.kill_the_primary_and_promote,
}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.__name__, marks=[] if fault in QUICK else pytest.mark.slow) for fault in FAULTS],
)
def test_nothing_is_lost_stale_or_backwards(make_system, fault: Fault):
    system = make_system(variables=faults.VARIABLES)
    report = run_history(system.url, seconds=SECONDS, sessions=4, during=lambda: fault(system)).report
    assert report.verdict.is_clean, report.verdict.violations
    assert not report.doubts
