"""Take the rules of a file that export_rules wrote."""

from __future__ import annotations

import difflib
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rewards.common.errors import RewardsError
from rewards.exchange.documents import Sections, from_bytes
from rewards.exchange.errors import RulesRefused
from rewards.exchange.services import Item, Report, import_rules, look_at
from rewards.management.base import add_dry_run

WORDS = {"create": "Create", "change": "Change", "refused": "Refused"}


class Command(BaseCommand):
    help = (
        "Take the rules of a file that export_rules wrote: what is new is created, what differs is changed, nothing is "
        "deleted; all of it, or nothing. The checks are those of the admin's forms."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--reason", metavar="R", default="", help="kept in the history of each rule; needed")
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run, reason = options["dry_run"], options["reason"].strip()
        if not (dry_run or reason):
            raise CommandError("Say why with --reason: it is kept in the history of each rule.")
        try:
            sections = self._read(options["file"])
            if dry_run:
                report = look_at(sections, actor=None, at=timezone.now())
            else:
                report = import_rules(sections, actor=None, reason=reason, at=timezone.now())
        except RulesRefused as error:
            self._write(error.report)
            raise CommandError(error.message) from error
        except RewardsError as error:
            raise CommandError(error.message) from error
        self._write(report, taken=not dry_run)
        if dry_run and report.of("refused"):
            raise CommandError(RulesRefused(report).message)

    def _read(self, file: Path) -> Sections:
        try:
            return from_bytes(file.read_bytes())
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error

    def _write(self, report: Report, *, taken: bool = False) -> None:
        for item in report.items:
            if item.outcome != "same":
                self.stdout.write("\n".join(lines_of(item)))
        created, changed, same, refused = (len(report.of(each)) for each in ("create", "change", "same", "refused"))  # type: ignore[arg-type]
        words = ("created", "changed") if taken else ("to create", "to change")
        self.stdout.write(f"{created} {words[0]}, {changed} {words[1]}, {same} the same, {refused} refused.")
        for title, count in report.untouched.items():
            self.stdout.write(f"{count} {title} are not in the file and stay as they are.")


def lines_of(item: Item) -> Iterator[str]:
    yield f"{WORDS[item.outcome]} {item.kind} {item.key}".rstrip() + (f": {item.sentence}" if item.sentence else "")
    if item.note:
        yield f"  {item.note}"
    if item.after is not None:
        before, after = (lines_of_facts(facts) for facts in (item.before, item.after))
        for line in list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]:
            if not line.startswith("@@"):
                yield f"  {line}"


def lines_of_facts(facts: dict[str, Any] | None) -> list[str]:
    return [] if facts is None else json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False).splitlines()[1:-1]
