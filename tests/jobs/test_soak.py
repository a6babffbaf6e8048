"""Everything at once, killed at random: a few seconds of what `make soak` does for minutes."""

from benchmarks.trust import promises
from benchmarks.trust.soak import Plan, soak
from tempo_core.settings import Home

QUICK = {"TEMPO_LEASE_S": "2", "TEMPO_POLL_S": "0.1", "TEMPO_PATIENCE_S": "3", "OMP_NUM_THREADS": "1"}


def test_whatever_is_killed_every_job_is_done_once_and_no_review_is_lost(tmp_path):
    plan = Plan(0.1, 1, (0.5, 1.5), steps=40, checkpoint_every=4, rhythm=QUICK, n_trainings=0, n_scans=1)
    *rows, _seconds = soak(Home(tmp_path), plan)
    assert [(row.what, row.measured) for row in rows if not row.held] == []


def test_the_counts_can_see_what_they_look_for():
    """Steps 0 to 5, killed after the checkpoint of step 3: the second attempt does 4 and 5 again."""
    first, second = [(step, 1) for step in range(6)], [(step, 2) for step in range(4, 8)]
    assert (promises.done_again(first + second), promises.late(first + second)) == (2, 0)
    assert promises.late([*first, *second, (6, 1)]) == 1
    assert promises.done_again(first) == 0
