"""Pay the users in a file by a rule, in one step."""

from __future__ import annotations

import csv
import json
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from rewards.allocation.rules import Allocation
from rewards.campaigns.errors import BadLines
from rewards.campaigns.files import Opened, Settings, open_run_of_file, preview_run_of_file
from rewards.campaigns.lines import parse_scale
from rewards.campaigns.queries import EXPORTED, exported_rows, previewed_rows
from rewards.campaigns.services import Layout, Upload, allocated
from rewards.common.amounts import to_minor
from rewards.common.errors import RewardsError
from rewards.common.exports import spreadsheet_safe
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft
from rewards.distributions.services import advance, retry
from rewards.jobs import shutdown
from rewards.ledger.models import ISSUANCE, Currency
from rewards.management.base import add_dry_run, file_refused, stopping_at_signals
from rewards.parameters.services import param

STOPPED = "Stopped. Run the same command again: it goes on where it was, and pays nobody twice."
OVER = {Distribution.Status.CANCELLED: "was rejected", Distribution.Status.REVERSED: "has been reversed"}

STAGES = ("read", "users", "list", "freeze", "allocate", "pay")

Status = Distribution.Status


class Command(BaseCommand):
    help = (
        "Pay the users in a CSV file (plain or gzip, UTF-8) by a rule. One bad line refuses the whole file. The same "
        "command again pays nobody twice; after a crash it goes on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE[.gz]")
        parser.add_argument("--campaign", required=True, metavar="SLUG", help="names this payout, once and for all")
        parser.add_argument("--currency", required=True, metavar="CODE")
        parser.add_argument("--rule", required=True, metavar="JSON", help='such as \'{"rule": "equal"}\'')
        parser.add_argument("--amount", help="currency units to share out; with the rule fixed the most it may pay")
        parser.add_argument("--user-column", default="user", metavar="NAME", help="the column of usernames (user)")
        parser.add_argument("--weight-column", metavar="NAME")
        parser.add_argument("--amount-column", metavar="NAME", help="what each gets, for the rule fixed")
        parser.add_argument("--group-column", metavar="NAME", help="for slices that name a group")
        parser.add_argument(
            "--amount-scale", metavar="N", help="what the amounts of the file are written in, such as 1e-18 (1)"
        )
        parser.add_argument("--tie-policy", default="earliest", help="earliest, shared or same (earliest)")
        parser.add_argument("--source", default=ISSUANCE, help="the system account that pays (issuance)")
        parser.add_argument("--title", default="", help="for people")
        parser.add_argument("--approval-limit", metavar="AMOUNT", help="currency units from which a person approves")
        parser.add_argument("--create-users", action="store_true", help="create users who are not known")
        parser.add_argument("--export", type=Path, metavar="OUT.csv", help=f"write {', '.join(EXPORTED)}")
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        try:
            settings, layout = _settings(options), _layout(options)
            _refuse_export(options)
            act = self.preview if options["dry_run"] else self.pay
            act(settings, layout, options, started)
        except BadLines as error:
            raise file_refused(self, error) from error
        except RewardsError as error:
            raise CommandError(error.message) from error
        except KeyboardInterrupt:
            raise CommandError(STOPPED, returncode=130) from None

    # ------------------------------------------------------------------------------------------------------------ pay

    def pay(self, settings: Settings, layout: Layout, options: dict[str, Any], started: float) -> None:
        with tqdm(unit=" lines", disable=None, leave=False, desc="reading") as bar:
            opened = open_run_of_file(
                settings,
                options["file"],
                layout,
                create_users=options["create_users"],
                at=timezone.now(),
                on_lines=bar.update,
            )
        was_paid = opened.distribution.status == Status.PAID
        distribution = opened.distribution if was_paid else _go_on(opened)
        self.say_state(distribution, was_paid=was_paid)
        self.say_figures(distribution, opened.upload, time.monotonic() - started)
        if options["export"] and distribution.allocated_at is not None:
            self.export(options["export"], exported_rows(distribution))

    def say_state(self, distribution: Distribution, *, was_paid: bool) -> None:
        """What became of it, in one line. Raises `CommandError` where that is no success."""
        if distribution.status == Status.FAILED:
            raise CommandError(
                f"{distribution} failed: {distribution.error} Run the same command again once that is mended."
            )
        if distribution.status in OVER:
            reason = f": {distribution.reason}" if distribution.reason else ""
            raise CommandError(f"{distribution} {OVER[Status(distribution.status)]}{reason}. Nothing is paid.")
        if was_paid:
            state = "already paid, nothing is changed"
        elif distribution.status == Status.PAID:
            state = "paid"
        elif distribution.status == Status.ALLOCATED:
            state = "waits for approval, nothing is paid yet"
        elif param("payouts_paused"):
            state = "waits until payouts are no longer paused, then goes on by itself"
        else:
            state = "is being paid by another process"
        self.stdout.write(f"{distribution.programme}: {state}")

    def say_figures(self, distribution: Distribution, upload: Upload, seconds: float) -> None:
        units, code = distribution.currency.to_units, distribution.currency.code
        self.stdout.write(
            f"{distribution.participants:,} rows, {distribution.recipients:,} recipients, "
            f"{units(distribution.amount - distribution.carried_over)} {code}, "
            f"left over {units(distribution.carried_over)} {code}, users created {upload.users_created:,}, "
            f"{seconds:.1f} s, {upload.rows / seconds:,.0f} rows/s"
        )
        spent = {**distribution.seconds, **upload.seconds}
        self.stdout.write("Seconds: " + ", ".join(f"{stage} {spent[stage]:.1f}" for stage in STAGES if stage in spent))
        self.stdout.write(f"List {upload.digest}")
        self.stdout.write(f"Digest {distribution.digest}")

    # -------------------------------------------------------------------------------------------------------- preview

    def preview(self, settings: Settings, layout: Layout, options: dict[str, Any], started: float) -> None:
        with tqdm(unit=" lines", disable=None, leave=False, desc="reading") as bar:
            upload, standing = preview_run_of_file(
                settings,
                options["file"],
                layout,
                create_users=options["create_users"],
                at=timezone.now(),
                on_lines=bar.update,
            )
        if standing is not None:
            already = "already paid" if standing.status == Status.PAID else f"opened already, it is {standing.status}"
            self.stdout.write(f"Dry run, nothing was written. {standing.programme}: {already}.")
        elif upload.draft is not None:
            allocation = allocated(upload.draft)
            self.say_preview(upload.draft, allocation, upload, time.monotonic() - started)
            if options["export"]:
                self.export(options["export"], previewed_rows(upload.draft, allocation))

    def say_preview(self, draft: Draft, allocation: Allocation, upload: Upload, seconds: float) -> None:
        units, code = draft.currency.to_units, draft.currency.code
        amounts = allocation.amounts
        self.stdout.write(
            f"Dry run, nothing was written. {upload.rows:,} rows, {int((amounts > 0).sum()):,} recipients, "
            f"{units(draft.amount - allocation.unpaid)} {code}, largest {units(int(amounts.max(initial=0)))} {code}, "
            f"left over {units(allocation.unpaid)} {code}, users to create {upload.users_created:,}, "
            f"{seconds:.1f} s, {upload.rows / seconds:,.0f} rows/s"
        )
        self.stdout.write(f"List {upload.digest}")

    # --------------------------------------------------------------------------------------------------------- export

    def export(self, path: Path, rows: Iterable[tuple[Any, ...]]) -> None:
        try:
            with path.open("w", encoding="utf-8", newline="") as file:
                out = csv.writer(file)
                out.writerow(EXPORTED)
                out.writerows([spreadsheet_safe(value) for value in row] for row in rows)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"Exported to {path}")


def _go_on(opened: Opened) -> Distribution:
    """Take every step that can be taken now; one that failed before is tried again. Raises `KeyboardInterrupt`."""
    if opened.distribution.status == Status.FAILED:
        return retry(opened.distribution.pk)
    with stopping_at_signals(), tqdm(unit=" steps", disable=None, leave=False, desc="paying") as bar:

        def keep_going() -> bool:
            bar.update()
            return not shutdown.asked()

        distribution = advance(opened.distribution.pk, keep_going)
        if shutdown.asked() and distribution.status in (Status.OPEN, Status.APPROVED, Status.PAYING):
            raise KeyboardInterrupt
    return distribution


def _settings(options: dict[str, Any]) -> Settings:
    """Raises `CommandError`, `InvalidAmount`."""
    currency = Currency.objects.filter(code=options["currency"]).first()
    if currency is None:
        raise CommandError(f"There is no currency {options['currency']!r}. Create it: manage.py create_currency.")
    try:
        rule = json.loads(options["rule"])
    except (ValueError, RecursionError) as error:
        raise CommandError('--rule is not JSON such as \'{"rule": "equal"}\'.') from error
    amount, limit = options["amount"], options["approval_limit"]
    return {
        "slug": options["campaign"],
        "currency": currency,
        "title": options["title"],
        "source": options["source"],
        "amount": None if amount is None else currency.to_minor(amount),
        "rule": rule,
        "tie_policy": options["tie_policy"],
        "approval_limit": None if limit is None else to_minor(limit, currency.decimals, what="approval limit"),
    }


def _layout(options: dict[str, Any]) -> Layout:
    """Raises `CommandError`, `InvalidAmount`."""
    if options["amount_scale"] is not None and not options["amount_column"]:
        raise CommandError("--amount-scale says what the amounts of --amount-column are written in: name that too.")
    return Layout(
        user=options["user_column"],
        weight=options["weight_column"],
        amount=options["amount_column"],
        group=options["group_column"],
        amount_scale=parse_scale(options["amount_scale"] or "1"),
    )


def _refuse_export(options: dict[str, Any]) -> None:
    """Find out before anything is paid what can be found out of the export."""
    path = options["export"]
    if path is None:
        return
    if path.exists() and options["file"].exists() and path.samefile(options["file"]):
        raise CommandError("--export would overwrite the file that is being paid.")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise CommandError(f"{path} cannot be written: there is no such folder.")
