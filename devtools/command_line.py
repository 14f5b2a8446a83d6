"""The commands of dev.py. What needs installed packages is imported once they are there."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from devtools.environment import (
    PYTHON,
    RUN_REQUIREMENTS,
    STATE,
    TEST_REQUIREMENTS,
    DevelopmentError,
    ensure_environment,
    inside_virtual_environment,
)
from devtools.ports import refuse_taken_port

DESCRIPTION = """
run        web, worker and scheduler with demo data, on embedded services
test       the whole suite on SQLite and on PostgreSQL; arguments not known here go to pytest
manage     any management command, in the environment and on the data of `run`
shots      the pictures of README and docs, of a product with demo data; takes Chromium
install    only make .venv, with everything that running and testing needs
"""


def main() -> int:
    """Run the command that the arguments name; returns the exit code."""
    arguments, unknown = parse_arguments()
    try:
        return arguments.action(arguments, unknown)
    except DevelopmentError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="run | test | manage | shots | install")
    actions = {"run": run, "test": test, "manage": manage, "shots": shots, "install": install}
    parsers = {name: commands.add_parser(name, allow_abbrev=False) for name in actions}
    for name, action in actions.items():
        parsers[name].set_defaults(action=action)
    parsers["run"].add_argument("--port", type=int, default=8000, help="of the web server (default 8000)")
    parsers["run"].add_argument("--no-demo", dest="demo", action="store_false", help="only the administrator's login")
    parsers["test"].add_argument("--db", choices=("sqlite", "postgres", "both"), default="both", help="default: both")
    for name in ("run", "manage"):
        default = STATE / "data"
        parsers[name].add_argument("--data", type=Path, default=default, help="of embedded services (.dev/data)")
    pictures = Path("docs/pictures")
    parsers["shots"].add_argument("--output", type=Path, default=pictures, help="folder (docs/pictures)")
    parsers["manage"].add_argument("words", nargs=argparse.REMAINDER, help="the command and its arguments")
    arguments, unknown = parser.parse_known_args()
    if unknown and arguments.action is not test:
        parser.error(f"unrecognised arguments: {' '.join(unknown)}")
    return arguments, unknown


def run(arguments: argparse.Namespace, unknown: list[str]) -> int:
    refuse_taken_port(arguments.port)
    enter_environment(RUN_REQUIREMENTS)
    from devtools.run import run_product

    return run_product(arguments.data.resolve(), arguments.port, demo=arguments.demo)


def test(arguments: argparse.Namespace, unknown: list[str]) -> int:
    enter_environment(TEST_REQUIREMENTS)
    from devtools.suite import run_suite

    return run_suite(arguments.db, unknown)


def manage(arguments: argparse.Namespace, unknown: list[str]) -> int:
    enter_environment(RUN_REQUIREMENTS)
    from devtools.run import become_management_command

    become_management_command(arguments.data.resolve(), arguments.words)


def shots(arguments: argparse.Namespace, unknown: list[str]) -> int:
    enter_environment(TEST_REQUIREMENTS)
    from devtools.shots import take_shots

    return take_shots(arguments.output.resolve())


def install(arguments: argparse.Namespace, unknown: list[str]) -> int:
    ensure_environment(TEST_REQUIREMENTS)
    return 0


def enter_environment(requirements: tuple[str, ...]) -> None:
    """Go on inside `.venv`: start this command again with its Python, unless that is the one running."""
    ensure_environment(requirements)
    if not inside_virtual_environment():
        os.execv(PYTHON, [str(PYTHON), *sys.argv])
