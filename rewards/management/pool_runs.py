"""What `run_hourly`, `run_daily` and `run_cycle` share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rewards.common.errors import RewardsError
from rewards.management.base import result_of_job
from rewards.pools.models import Pool
from rewards.pools.queries import both_pools, periods_left
from rewards.pools.services import RunResult, forecast, run_daily, run_hourly

LINES_SHOWN = 50


def run_pool_command(command: BaseCommand, slug: str, at: datetime) -> None:
    """Run one pool as its job and say what came of it. Raises `CommandError` when a period failed."""
    pool, job, run = _pool(slug), f"run_{slug}", _runs()[slug]
    result = result_of_job(
        command, job, lambda progress: run(at, progress=progress), total=len(periods_left(pool, at)), unit=" periods"
    )
    _say(command, result)


def preview_pool_command(command: BaseCommand, slug: str, at: datetime) -> None:
    """Say what a run would pay; nothing is written. Raises `CommandError` with what it would fail with."""
    pool, started = _pool(slug), timezone.now()
    units = pool.currency.to_units
    periods = shown = recipients = paid = bonus = 0
    try:
        for line in forecast(pool, at):
            periods, paid, bonus = periods + 1, paid + line.paid, bonus + line.bonus
            recipients += line.recipients
            if (line.amount or line.participants) and shown < LINES_SHOWN:
                shown += 1
                command.stdout.write(
                    f"{line.period_key}: {units(line.amount)} {pool.currency}, {line.participants} took part, "
                    f"{units(line.paid)} to {line.recipients}, {units(line.carried)} carried over"
                    + (f", market bonus {units(line.bonus)}" if line.bonus else "")
                )
    except RewardsError as error:
        raise CommandError(f"After {periods} periods it would stop: {error.message}") from error
    seconds = (timezone.now() - started).total_seconds()
    command.stdout.write(
        f"run_{slug} --dry-run: {periods} periods due, {recipients} recipients, {units(paid)} {pool.currency}"
        f"{f', market bonus {units(bonus)}' if bonus else ''}, {seconds:.1f} s; nothing was written"
    )


def _runs() -> dict[str, Callable[..., RunResult]]:
    return {Pool.Slug.HOURLY: run_hourly, Pool.Slug.DAILY: run_daily}


def _pool(slug: str) -> Pool:
    try:
        hourly, daily = both_pools()
    except RewardsError as error:
        raise CommandError(error.message) from error
    return hourly if slug == Pool.Slug.HOURLY else daily


def _say(command: BaseCommand, result: RunResult) -> None:
    if result.inactive:
        command.stdout.write(f"{result.programme} is not active: nothing was done.")
    if result.paused:
        command.stdout.write(
            "Payouts are paused: nothing more is paid until an administrator lifts it; nothing is lost."
        )
    if result.waiting:
        command.stdout.write(f"Waiting for an approval: {', '.join(result.waiting)}")
    for period_key, sentence in result.bonus_failures:
        command.stdout.write(f"The market bonus of {period_key} failed, the day is paid: {sentence}")
    if result.failures:
        failures = "; ".join(f"{period_key}: {sentence}" for period_key, sentence in result.failures)
        raise CommandError(f"{result.programme} stopped, later periods wait for this one. {failures}")
