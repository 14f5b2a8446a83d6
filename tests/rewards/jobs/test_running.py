"""One run of a job at a time, and what is kept of it."""

from __future__ import annotations

import pytest

from rewards.alerts.models import Alert
from rewards.jobs.models import JobRun
from rewards.jobs.progress import Progress, RunLost
from rewards.jobs.services import run_job

pytestmark = pytest.mark.django_db


def test_a_run_keeps_its_figures() -> None:
    def work(progress: Progress) -> dict[str, int]:
        progress.step(successes=2)
        progress.step(successes=1, failures=1)
        return {"paid": 30}

    run = run_job("pay", work)

    assert run is not None
    assert (run.status, run.items, run.successes, run.failures) == ("succeeded", 4, 3, 1)
    assert run.results == {"paid": 30}
    assert run.finished_at is not None
    assert run.seconds is not None
