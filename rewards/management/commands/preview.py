"""Show what a rule would pay."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.allocation.errors import AllocationError
from rewards.allocation.figures import decimal_text
from rewards.common.errors import RewardsError
from rewards.distributions.preview import Changes, Comparison, Preview, compare, preview, with_rule
from rewards.management.base import add_at, instant_of


class Command(BaseCommand):
    help = "Show what a period would pay, by its own rule or another one, and who gains or loses. Nothing is written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("programme", help="such as pool_daily or campaign:spring")
        parser.add_argument("period", help="the key of a period, such as 2026-11-21; frozen or not")
        parser.add_argument("--rule", metavar="JSON", help="by this rule instead of the period's own")
        parser.add_argument("--against-rule", metavar="JSON", help="compare with this rule")
        parser.add_argument("--against-period", metavar="KEY", help="compare with this period of the programme")
        add_at(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        rule, against_rule = _rule(options, "rule"), _rule(options, "against_rule")
        try:
            shown = preview(options["programme"], options["period"], at=at, rule=rule)
            other = _other(shown, options["against_period"], against_rule, at)
            comparison = compare(other, shown) if other else None
        except (RewardsError, AllocationError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("\n".join(lines_of(shown)))
        if comparison:
            self.stdout.write("\n".join(["", *lines_of_comparison(comparison)]))


def _rule(options: dict[str, Any], name: str) -> Any:
    """The rule of an option; None without it. Raises `CommandError`."""
    if options[name] is None:
        return None
    try:
        return json.loads(options[name])
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--{name.replace('_', '-')} is not JSON: {error}") from error


def _other(shown: Preview, period: str | None, rule: Any, at: datetime) -> Preview | None:
    """What to compare with, if anything."""
    if period is not None:
        return preview(shown.programme, period, at=at, rule=rule)
    return with_rule(shown, rule) if rule is not None else None


def lines_of(shown: Preview) -> Iterable[str]:
    units, figures = shown.currency.to_units, shown.figures
    yield (
        f"{shown.programme} {shown.period_key}: {units(figures.total)} {shown.currency} to {figures.recipients:,} of "
        f"{shown.participants:,} participants, {units(shown.unpaid)} left over of {units(shown.amount)}"
    )
    yield f"Rule      {json.dumps(shown.rule)}, ties: {shown.tie_policy}"
    yield f"Top 1%    {decimal_text(figures.top_1_percent)} of the total"
    yield f"Top 10%   {decimal_text(figures.top_10_percent)} of the total"
    yield f"Gini      {decimal_text(figures.gini)}"
    yield ""
    yield from table(["quantile", *figures.quantiles], [["amount", *map(units, figures.quantiles.values())]])
    if shown.slices:
        rows = [[part.name, units(part.amount), units(part.paid), f"{part.members:,}"] for part in shown.slices]
        yield from ("", *table(["slice", "given", "paid", "members"], rows))
    if shown.best:
        rows = [[f"{each.position}", each.user, each.score, units(each.amount)] for each in shown.best]
        yield from ("", *table(["place", "user", "score", "amount"], rows))


def lines_of_comparison(comparison: Comparison) -> Iterable[str]:
    before, units = comparison.before, comparison.after.currency.to_units
    yield f"Against {before.programme} {before.period_key} by {json.dumps(before.rule)}:"
    sides: Iterable[tuple[str, Changes]] = (("gain", comparison.gaining), ("lose", comparison.losing))
    for verb, side in sides:
        yield f"{side.count:,} {verb} {units(side.sum)} {before.currency}"
        if side.largest:
            rows = [[each.user, *map(units, each[1:])] for each in side.largest]
            yield from (*table(["user", "before", "after", "difference"], rows), "")
    yield f"{comparison.unchanged:,} get the same"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Columns side by side, as wide as their longest entry; numbers to the right."""
    aligned = []
    for name, *entries in zip(columns, *rows, strict=True):
        width = max(map(len, (name, *entries)))
        numeric = all(entry.lstrip("-")[:1].isdigit() for entry in entries)
        aligned.append([text.rjust(width) if numeric else text.ljust(width) for text in (name, *entries)])
    for line in zip(*aligned, strict=True):
        yield "  ".join(line).rstrip()
