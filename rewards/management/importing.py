"""What the commands that import CSV files share: arguments, progress, and the figures at the end."""

from __future__ import annotations

import csv
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from rewards.activity.csv_import import BadLine, CsvFile, Figures, Layout, error_row, import_lines, open_csv
from rewards.activity.preview import Seen, preview_checked
from rewards.activity.services import record_checked
from rewards.common.errors import RewardsError

BAD_LINES_PRINTED = 20


class ImportCommand(BaseCommand):
    layout: Layout
    events: str
    """What the file holds, in the plural."""
    users: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        columns = ", ".join(self.layout.required + tuple(f"[{column}]" for column in self.layout.optional))
        parser.add_argument("file", type=Path, help=f"CSV, plain or gzip, UTF-8, with the columns {columns}")
        parser.add_argument(
            "--map",
            nargs="+",
            action="extend",
            default=[],
            metavar="COLUMN=NAME",
            help="the file's own name of a column, such as partner=customer_id",
        )
        parser.add_argument("--errors", type=Path, metavar="OUT.csv", help="keep the refused lines in this file")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen and write nothing")

    def creates_users(self, options: dict[str, Any]) -> bool:
        raise NotImplementedError("each command says whether it creates users")

    def handle(self, **options: Any) -> None:
        names = dict(_pair(text) for text in options["map"])
        started = time.perf_counter()
        try:
            file = open_csv(options["file"], self.layout, names)
            with _errors_file(options["errors"], file) as keep:
                figures, printed = self.run(file, keep, options)
        except RewardsError as error:
            raise CommandError(error.message) from error
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. Import the file again: what is in is not counted twice.", returncode=130
            ) from None
        self.print_figures(figures, printed, time.perf_counter() - started, dry_run=options["dry_run"])

    def run(
        self, file: CsvFile, keep: Callable[[BadLine], object], options: dict[str, Any]
    ) -> tuple[Figures, list[BadLine]]:
        """Import the file; the figures and the first bad lines."""
        at, create_users = timezone.now(), self.creates_users(options)
        first: list[BadLine] = []
        if options["dry_run"]:
            write = partial(preview_checked, create_users=create_users, seen=Seen())
        else:
            write = partial(record_checked, create_users=create_users, at=at)
        with tqdm(total=file.lines, unit=" lines", disable=None, leave=False) as bar:

            def report(lines: int, bad_lines: Sequence[BadLine]) -> None:
                bar.update(lines)
                first.extend(bad_lines[: BAD_LINES_PRINTED - len(first)])
                for bad in bad_lines:
                    keep(bad)

            return import_lines(file, write, at=at, report=report), first

    def print_figures(self, figures: Figures, first: list[BadLine], seconds: float, *, dry_run: bool) -> None:
        for bad in first:
            self.stdout.write(f"Line {bad.number}: {bad.reason}")
        refused = figures.refused.total()
        if refused > len(first):
            self.stdout.write(f"… and {refused - len(first):,} more")
        for reason, count in figures.refused.most_common():
            self.stdout.write(f"Refused {count:,}: {reason}")
        self.stdout.write(
            f"{'Dry run, nothing was written. ' if dry_run else ''}"
            f"Read {figures.lines:,}: accepted {figures.accepted:,}, duplicates {figures.duplicates:,}, "
            f"late {figures.late:,}, refused {refused:,}; {self.users} created {figures.users_created:,}; "
            f"{seconds:.1f} s, {figures.lines / seconds:,.0f} {self.events}/s"
        )


def _pair(text: str) -> tuple[str, str]:
    column, sign, name = text.partition("=")
    if not (column and sign and name):
        raise CommandError(f"--map takes COLUMN=NAME such as partner=customer_id, not {text!r}.")
    return column, name


@contextmanager
def _errors_file(path: Path | None, file: CsvFile) -> Iterator[Callable[[BadLine], object]]:
    """What keeps a bad line: in a CSV file with the columns of the original, or nowhere."""
    if path is None:
        yield lambda bad: None
        return
    if path.exists() and path.samefile(file.path):
        raise CommandError("--errors would overwrite the file that is being imported.")
    try:
        target = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
    with target:
        rows = csv.writer(target)
        rows.writerow(["line_number", "reason", *file.header])
        yield lambda bad: rows.writerow(error_row(bad))
