"""Write docs/parameters.md."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from rewards.parameters.documentation import parameters_page


class Command(BaseCommand):
    help = "Writes docs/parameters.md from the registry of parameters."
    requires_system_checks = ()  # it needs no database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is out of date")

    def handle(self, **options: Any) -> None:
        page = settings.BASE_DIR / "docs" / "parameters.md"
        if not options["check"]:
            page.write_text(parameters_page(), encoding="utf-8")
            self.stdout.write(f"Wrote {page.relative_to(settings.BASE_DIR)}.")
        elif not page.exists() or page.read_text(encoding="utf-8") != parameters_page():
            raise CommandError("docs/parameters.md is out of date: run manage.py document_parameters.")
