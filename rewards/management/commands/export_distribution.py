"""Write a distribution, or the proof of one row, to a file that anyone can check offline."""

from __future__ import annotations

import gzip
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.queries import exported, exported_header, proof
from rewards.users.models import User


class Command(BaseCommand):
    help = (
        "Write a distribution with its digest to OUT.json[.gz], or with --proof the proof of one user's row. "
        "Check it with nothing but Python: python -m rewards.allocation.verify FILE. "
        "A whole distribution shows every salt: hand it to auditors, and proofs to recipients."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        parser.add_argument("out", metavar="OUT.json[.gz]", type=Path)
        parser.add_argument("--proof", metavar="USER", help="only the proof that this user's row is part of it")

    def handle(self, *args: Any, **options: Any) -> None:
        related = Distribution.objects.select_related("currency", "source_account")
        distribution = related.filter(pk=options["id"]).first()
        if distribution is None or not distribution.digest:
            raise CommandError(f"There is no allocated distribution {options['id']}.")
        out: Path = options["out"]
        one_row = self.proof(distribution, options["proof"]) if options["proof"] else None
        try:
            with gzip.open(out, "wt") if out.suffix == ".gz" else out.open("w", encoding="utf-8") as file:
                if one_row is not None:
                    json.dump(one_row, file, ensure_ascii=False)
                else:
                    self.write(distribution, file)
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"{distribution} written to {out}; its digest is {distribution.digest}.")

    def proof(self, distribution: Distribution, username: str) -> dict[str, Any]:
        user = User.objects.filter(username=username).first()
        try:
            if user is None:
                raise CommandError(f"There is no user {username!r}.")
            return proof(distribution, user)
        except RewardsError as error:
            raise CommandError(error.message) from error

    def write(self, distribution: Distribution, file: IO[str]) -> None:
        """Streamed: a row at a time."""
        header = json.dumps(exported_header(distribution), ensure_ascii=False)
        file.write(f'{{"header": {header}, "rows": [')
        for index, row in enumerate(exported(distribution)):
            file.write(("," if index else "") + "\n" + json.dumps(row, ensure_ascii=False))
        file.write(f'\n], "digest": "{distribution.digest}"}}\n')
