"""What commands share: --at, --dry-run, and running a job in the foreground."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from rewards.campaigns.errors import BadLines
from rewards.common.periods import parse_instant
from rewards.jobs import shutdown
from rewards.jobs.models import JobRun
from rewards.jobs.progress import Progress
from rewards.jobs.services import Work, run_job

WAIT_SECONDS = 60.0


def add_at(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--at", metavar="T", help="do what is due at this instant, included (ISO 8601, naive = UTC; default now)"
    )


def add_dry_run(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and write nothing")


def instant_of(options: dict[str, Any]) -> datetime:
    """The instant of --at, else now. Raises `CommandError`."""
    text = options.get("at")
    if text is None:
        return timezone.now()
    if isinstance(text, datetime):
        return text
    try:
        return parse_instant(text)
    except ValueError as error:
        raise CommandError(f"--at {text!r} is not an instant such as 2026-11-21T10:30 or 2026-11-21T10:30Z.") from error


def run_as_job(
    command: BaseCommand, name: str, work: Work, *, total: int | None = None, unit: str = " items"
) -> JobRun:
    """Run `work` as the job `name` with a progress bar on stderr, and close with a line of figures.

    Ctrl-C and SIGTERM let the step under way finish. A scheduled run of the same job is waited for, a minute at most.
    Raises `CommandError` when that is not enough, or when the work failed.
    """
    with stopping_at_signals(), tqdm(total=total, unit=unit, disable=None, leave=False, desc=name) as bar:

        def move_bar(done: int) -> None:
            bar.update(done)

        run = run_job(name, work, trigger="command", wait_seconds=WAIT_SECONDS, on_step=move_bar)
    if run is None:
        raise CommandError(f"{name} is running already, on this machine or another. Try again when it has finished.")
    if run.status != JobRun.Status.SUCCEEDED:
        raise CommandError(f"{name} {run.get_status_display().lower()}: {run.error}")
    command.stdout.write(closing_line(run))
    return run


def file_refused(command: BaseCommand, error: BadLines) -> CommandError:
    """How a command ends on a file with bad lines: the first of them stand on stderr, by number and reason."""
    for number, reason in error.lines:
        command.stderr.write(f"Line {number}: {reason}")
    if error.count > len(error.lines):
        command.stderr.write(f"… and {error.count - len(error.lines):,} more")
    return CommandError(f"{error.count:,} bad {'line' if error.count == 1 else 'lines'}: nothing is stored.")


class Result(Protocol):
    """What a job says that it did."""

    def figures(self) -> Mapping[str, Any]: ...


DoneT = TypeVar("DoneT", bound=Result)


def result_of_job(command: BaseCommand, name: str, work: Callable[[Progress], DoneT], **options: Any) -> DoneT:
    """Like `run_as_job`, for work that returns a result with figures: that result."""
    results: list[DoneT] = []

    def kept(progress: Progress) -> Mapping[str, Any]:
        results.append(work(progress))
        return results[0].figures()

    run_as_job(command, name, kept, **options)
    return results[0]


def closing_line(run: JobRun) -> str:
    """`run_hourly: 3 items, 3 succeeded, 0 failed, 0.4 s`, then what the work reported."""
    line = f"{run.job}: {run.items} items, {run.successes} succeeded, {run.failures} failed, {run.seconds or 0:.1f} s"
    for key, value in sorted(run.results.items()):
        if isinstance(value, int | str) and value is not False and value != "" and key != "unfinished":
            line += f", {key.replace('_', ' ')} {value}"
    return line + (" (stopped early: run it again to go on)" if run.results.get("unfinished") else "")


@contextmanager
def stopping_at_signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C let the step under way finish; a second one does not wait for it."""

    def ask(number: int, frame: object) -> None:
        if shutdown.asked():
            raise KeyboardInterrupt
        shutdown.ask()

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: whoever called the command there handles signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if before:
            shutdown.take_back()
