"""What a running job tells about itself, and how it learns that it should come to an end."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from django.db.models.functions import Now

from rewards.common.errors import RewardsError
from rewards.jobs import shutdown
from rewards.jobs.models import JobRun

SECONDS_BETWEEN_WRITES = 1.0


class Steps(Protocol):
    """Where work counts its steps, and learns that it should come to an end."""

    def step(self, successes: int = 0, failures: int = 0) -> None: ...
    def keep_going(self) -> bool: ...


class Unwatched:
    """Nobody counts, and there is no end."""

    def step(self, successes: int = 0, failures: int = 0) -> None: ...

    def keep_going(self) -> bool:
        return True


class RunLost(RewardsError):
    """This run was taken to be dead and another one took over: it must stop."""

    code = "run_lost"


class Progress:
    """Counts what a run has done. `on_step(done)` is called with each step's number of items, for a progress bar."""

    def __init__(
        self, run: JobRun, *, budget_seconds: float | None = None, on_step: Callable[[int], None] | None = None
    ) -> None:
        self.run = run
        self.successes = 0
        self.failures = 0
        self.unfinished = False  # work was left because the time was up or a shutdown was asked for
        self._deadline = monotonic() + budget_seconds if budget_seconds is not None else None
        self._on_step = on_step or (lambda done: None)
        self._written_at = monotonic()

    def step(self, successes: int = 0, failures: int = 0) -> None:
        """Count items that are done, and be heard of. Raises `RunLost` when another run has taken over."""
        self.successes += successes
        self.failures += failures
        self._on_step(successes + failures)
        if monotonic() - self._written_at >= SECONDS_BETWEEN_WRITES:
            self.write()

    def keep_going(self) -> bool:
        """False once the time of a scheduled run is over or a shutdown was asked for: finish the step, then return."""
        out_of_time = self._deadline is not None and monotonic() >= self._deadline
        if out_of_time or shutdown.asked():
            self.unfinished = True
        return not self.unfinished

    def write(self) -> None:
        """Put the counts and a heartbeat on the run's row. Raises `RunLost`."""
        self._written_at = monotonic()
        if not still_running(self.run).update(**self.counts(), heartbeat_at=Now()):
            raise RunLost

    def counts(self) -> dict[str, int]:
        return {
            "items": self.successes + self.failures,
            "successes": self.successes,
            "failures": self.failures,
        }


def still_running(run: JobRun):  # type: ignore[no-untyped-def]
    """The run's row as long as it holds the lock: a zombie that wakes up finds nothing to write to."""
    return JobRun.objects.filter(pk=run.pk, status=JobRun.Status.RUNNING)
