"""Put many users into a group, such as those of a monthly ranking."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm

from rewards.campaigns.errors import BadLines
from rewards.common.errors import RewardsError
from rewards.management.base import add_dry_run, file_refused
from rewards.management.membership import Membership, assign

STANDARD_INPUT = "-"


class Command(BaseCommand):
    help = (
        "Put the users of a file (plain or gzip, UTF-8: a username a line, or a column of a CSV) into a group, which "
        "is created when missing. One bad line refuses the whole file. A group that hands out rights is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("group", metavar="GROUP", help="its name, such as students")
        parser.add_argument("file", metavar="FILE[.gz]|-", help="- reads standard input")
        parser.add_argument("--user-column", metavar="NAME", help="the file is a CSV, this its column of usernames")
        parser.add_argument("--create-users", action="store_true", help="create users who are not known")
        parser.add_argument("--remove", action="store_true", help="take them out of the group instead")
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["remove"] and options["create_users"]:
            raise CommandError("--create-users and --remove exclude each other: a user who is created is in no group.")
        started = time.monotonic()
        source = sys.stdin.buffer if options["file"] == STANDARD_INPUT else Path(options["file"])
        try:
            with tqdm(unit=" lines", disable=None, leave=False, desc="reading") as bar:
                membership = assign(
                    options["group"],
                    source,
                    column=options["user_column"],
                    create_users=options["create_users"],
                    remove=options["remove"],
                    dry_run=options["dry_run"],
                    at=timezone.now(),
                    on_lines=bar.update,
                )
        except BadLines as error:
            raise file_refused(self, error) from error
        except RewardsError as error:
            raise CommandError(error.message) from error
        self.say(membership, options, time.monotonic() - started)

    def say(self, membership: Membership, options: dict[str, Any], seconds: float) -> None:
        others = membership.users - membership.moved
        did = (
            f"{membership.moved:,} left, {others:,} were not in it"
            if options["remove"]
            else f"{membership.moved:,} joined, {others:,} were in already"
        )
        prefix = "Dry run, nothing was written. " if options["dry_run"] else ""
        self.stdout.write(
            f"{prefix}{options['group']}: {did}; users created {membership.users_created:,}; {seconds:.1f} s"
        )
