"""From a real server, killed midway, to the verdict of simulated users, as `benchmarks/serving/online.py` has it."""

import pytest

from benchmarks.serving.online import Job, load, run
from rrarank.online.simulator import Crowd


@pytest.mark.slow
def test_users_prefer_what_ndcg_prefers_and_no_acknowledged_event_is_lost(tmp_path):
    rankings, qrels = load(None, depth=20)
    job = Job(tmp_path / "log", kind="perfect", crowd=Crowd(users=40, queries=3.0))
    figures, faults = run(job, rankings, qrels, tmp_path)
    assert not faults
    assert figures["sent again"]  # it was killed
    assert figures["users prefer"] == "student"
