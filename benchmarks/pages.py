"""Every list of the admin, the dashboard and every page for recipients, at 10,000 and at 10,000,000 transfers.

    python -m benchmarks.pages [--database postgres://user@host/any] [--transfers 10000 10000000] [--repeat 7]

Two databases with the populations of `benchmarks.population`, and the same request to both in turn, through Django's
handlers with middleware, session and templates: how many queries it takes, and the time in the large one as a ratio of
the time in the small one, in the same run. A page holds when it takes fewer than 20 queries and its median ratio is 1.5
or less. `--keep NAME` leaves the databases standing as `NAME_10000` and so on, and uses them again the next time;
`--only PATTERN` looks at the pages whose name holds that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.harness import canary, fresh_database, median_and_spread, set_up_django
from benchmarks.population import BUSY

MOST_QUERIES = 20
MOST_TIMES = 1.5

ADMIN_PAGES = (
    "index", "rewards_distribution_periods", "rewards_distribution_simulator", "rewards_pool_trends",
    "rewards_pool_liability", "rewards_pendingreward_dead", "rewards_monthlyrewardjob_start",
)  # fmt: skip

FILTERED = {
    "rewards.Journal": ("kind=claim", "kind=case_fund"),
    "rewards.ActivityEvent": ("metric=cc_vote",),
    "rewards.AuditEvent": ("event_type=claimed",),
    "rewards.JobRun": ("job=check_ledger", "status__exact=failed"),
    "rewards.PendingReward": ("status__exact=queued", "status__exact=failed"),
    "rewards.Distribution": ("status__exact=allocated", "status__exact=paid"),
    "rewards.RewardLog": ("type=daily",),
    "rewards.Case": ("status__exact=active",),
}
"""Lists with a filter set, one that many rows pass and one that few do."""


@dataclass
class Figures:
    """Of one page: milliseconds of each round, the small population's first."""

    name: str
    queries: int
    small: list[float]
    large: list[float]
    problem: str = ""

    @property
    def ratios(self) -> list[float]:
        return [large / small for small, large in zip(self.small, self.large, strict=True)]

    @property
    def holds(self) -> bool:
        return not self.problem and self.queries < MOST_QUERIES and statistics.median(self.ratios) <= MOST_TIMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--transfers", type=int, nargs=2, default=[10_000, 10_000_000])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--only", default="", help="a regular expression: pages whose name holds it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        urls = [
            stack.enter_context(populated(options.database, size, options.seed, options.keep))
            for size in options.transfers
        ]
        sites = [stack.enter_context(site(url)) for url in urls]
        started, disturbed = time.perf_counter(), canary()
        figures = measure(sites, options.repeat, options.only, (lambda *_: None) if options.json else show_line)
        disturbed = canary() / disturbed
    if options.json:
        print(json.dumps([vars(each) | {"holds": each.holds} for each in figures]))
    else:
        report(figures, options.transfers, time.perf_counter() - started, disturbed)
    if not all(each.holds for each in figures):
        sys.exit(1)


# ----------------------------------------------------------------------------------------------------- populations


@contextmanager
def populated(server_url: str, transfers: int, seed: int, keep: str | None) -> Iterator[str]:
    """The URL of a database with that population: dropped at the end, or kept and found again under its name."""
    if keep is None:
        with fresh_database(server_url, f"rewards_benchmark_pages_{transfers}") as url:
            populate(url, transfers, seed)
            yield url
        return
    server, name = server_url.rpartition("/")[0], f"{keep}_{transfers}"
    if not stands(server, name):
        # Made under another name: one that was broken off is not taken for whole.
        making = f"{name}_unfinished"
        create(server, making)
        populate(f"{server}/{making}", transfers, seed)
        administer(server, f"ALTER DATABASE {making} RENAME TO {name}")
    yield f"{server}/{name}"


def populate(url: str, transfers: int, seed: int) -> None:
    """In a process of its own: its memory and its settings are not the pages'."""
    command = [sys.executable, "-m", "benchmarks.population", "--transfers", str(transfers), "--seed", str(seed)]
    subprocess.run([*command, "--database", url], check=True, stdout=sys.stderr)


def administer(server: str, *statements: str) -> list[Any]:
    import psycopg2

    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def stands(server: str, name: str) -> bool:
    return bool(administer(server, f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))


def create(server: str, name: str) -> None:
    administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")


# ---------------------------------------------------------------------------------------------------- a site, apart


@contextmanager
def site(url: str) -> Iterator[Callable[..., Any]]:
    """The product on that database, in a process of its own; a function that asks it and waits for the answer."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, url), daemon=True)
    process.start()

    def ask(what: str, *about: Any) -> Any:
        ours.send((what, *about))
        answer = ours.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    yield ask
    ours.send(("stop",))
    process.join(timeout=10)


def serve(pipe: Connection, url: str) -> None:
    set_up_django(url)
    import logging

    from django.conf import settings
    from django.core.management import call_command

    settings.ALLOWED_HOSTS = ["*"]
    # The files need not have been collected.
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    logging.disable(logging.ERROR)
    call_command("migrate", verbosity=0)
    clients = signed_in()
    answers = {
        "pages": lambda: dict(pages()),
        "queries": lambda who, path: queries(clients[who], path),
        "milliseconds": lambda who, path: milliseconds(clients[who], path),
    }
    while (asked := pipe.recv())[0] != "stop":
        try:
            pipe.send(answers[asked[0]](*asked[1:]))
        except Exception as error:
            pipe.send(RuntimeError(f"{asked}: {type(error).__name__}: {error}"))


def pretend_refreshed() -> None:
    """As if the job that refreshes the boards every quarter of an hour had just come."""
    from django.utils import timezone

    from leaderboard.models import Standings

    Standings.objects.filter(closed=False).update(as_of=timezone.now())


def signed_in() -> dict[str, Any]:
    """A client of the administrator, one of somebody who takes part in everything, and one of nobody."""
    from django.test import Client

    from rewards.users.models import User

    clients = {"nobody": Client(), "admin": Client(), "busy": Client()}
    clients["admin"].force_login(User.objects.get(username="admin"))
    clients["busy"].force_login(User.objects.get(username=BUSY))
    return clients


def opened(client: Any, path: str) -> int:
    """Get a page whole; returns how many bytes it has. Raises `ValueError` for one that is not there."""
    response = client.get(path)
    if response.status_code != 200:
        raise ValueError(f"{response.status_code} {response.headers.get('Location', '')}")
    return len(response.getvalue() if response.streaming else response.content)


def queries(client: Any, path: str) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    pretend_refreshed()
    opened(client, path)
    with CaptureQueriesContext(connection) as captured:
        opened(client, path)
    return len(captured)


def milliseconds(client: Any, path: str) -> float:
    started = time.perf_counter()
    opened(client, path)
    return (time.perf_counter() - started) * 1000


# ------------------------------------------------------------------------------------------------------- which pages


def pages() -> Iterator[tuple[str, tuple[str, str]]]:
    """(name, (who looks, address)) of every page that is measured, on this database."""
    from django.contrib import admin
    from django.urls import reverse

    for name in ADMIN_PAGES:
        yield name, ("admin", reverse(f"admin:{name}"))
    for model, model_admin in sorted(admin.site._registry.items(), key=lambda entry: entry[0]._meta.label):
        for what, address in list_pages(model, model_admin):
            yield f"{model._meta.label}: {what}", ("admin", address)
    for what, address in pages_of_rows():
        yield what, ("admin", address)
    yield from pages_of_recipients()


def list_pages(model: Any, model_admin: Any) -> Iterator[tuple[str, str]]:
    """The list, its last page but one by cursor, a search, a filter; and the page of a row in the middle."""
    from django.urls import reverse

    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listed = reverse(f"{name}_changelist")
    yield "list", listed
    if (cursor := deep_cursor(model, model_admin)) is not None:
        yield "list, deep", f"{listed}?after={cursor}"
    row = middle_row(model)
    if row is None:
        return
    if model_admin.search_fields:
        yield "search", f"{listed}?q={term_for(model, row)}"
    for query in FILTERED.get(model._meta.label, ()):
        yield f"list, {query}", f"{listed}?{query}"
    yield "row", reverse(f"{name}_change", args=[row.pk])


def deep_cursor(model: Any, model_admin: Any) -> str | None:
    """The cursor of the row that stands a hundred rows before the end; None for a list without cursors."""
    from django.test import RequestFactory

    from rewards.admin.common.lists import BigList, cursor_of

    if not isinstance(model_admin, BigList):
        return None
    fields = list(model_admin.cursor_fields(RequestFactory().get("/")))
    backwards = [name[1:] if name.startswith("-") else f"-{name}" for name in fields]
    row = model._default_manager.order_by(*backwards)[100:101].first()
    return None if row is None else cursor_of(row, fields).replace("+", "%2B")


def middle_row(model: Any) -> Any:
    """A row in the middle of the ids; for those without numbers, the first."""
    from django.db.models import Max

    rows = model._default_manager.order_by("pk")
    newest = rows.aggregate(newest=Max("pk"))["newest"] if model._meta.pk.get_internal_type() != "UUIDField" else None
    return rows.filter(pk__gte=newest // 2).first() if isinstance(newest, int) else rows.first()


TERMS: dict[str, Callable[[Any], str]] = {
    "rewards.ActivityEvent": lambda row: row.event_id,
    "rewards.AuditEvent": lambda row: str(row.event_id),
    "rewards.AuditSeal": lambda row: row.hash[:16],
    "rewards.ChainTransaction": lambda row: row.tx_hash[:16],
    "rewards.Distribution": lambda row: row.period_key,
    "rewards.Journal": lambda row: row.key,
    "rewards.Transfer": lambda row: row.journal.key,
    "rewards.PendingReward": lambda row: row.reward_id,
    "rewards.Claim": lambda row: row.claim_key,
    "rewards.Case": lambda row: row.title,
}


def term_for(model: Any, row: Any) -> str:
    """What finds the row; where users are looked for, one of them."""
    return TERMS[model._meta.label](row) if model._meta.label in TERMS else "user0000150"


def pages_of_rows() -> Iterator[tuple[str, str]]:
    """Of rows with much behind them: somebody busy, the payout to everybody, the account all comes from."""
    from django.urls import reverse

    from rewards.distributions.models import Distribution, Reward
    from rewards.ledger.models import Account
    from rewards.users.models import User

    busy, everybody = User.objects.get(username=BUSY), Distribution.objects.get(programme="campaign:everybody")
    changed = "admin:rewards_{}_change"
    yield "user who is busy", reverse(changed.format("user"), args=[busy.pk])
    yield "distribution to everybody", reverse(changed.format("distribution"), args=[everybody.pk])
    rewards = reverse("admin:rewards_reward_changelist")
    yield "rewards to everybody", f"{rewards}?distribution__id__exact={everybody.pk}"
    yield (
        "rewards to everybody, deep",
        (f"{rewards}?distribution__id__exact={everybody.pk}&after={everybody.participants - 100}"),
    )
    yield "rewards to everybody, search", f"{rewards}?distribution__id__exact={everybody.pk}&q=user0000150"
    yield (
        "reward of somebody",
        reverse(changed.format("reward"), args=[Reward.objects.get(distribution=everybody, position=500).pk]),
    )
    hourly = Distribution.objects.filter(programme="pool_hourly").order_by("pk")[700]
    yield "distribution of an hour", reverse(changed.format("distribution"), args=[hourly.pk])
    issuance = Account.objects.get(user=None, code="issuance", currency__code="points")
    for what, account in (
        ("issuance", issuance),
        ("somebody busy", Account.objects.get(user=busy, code="", currency__code="points")),
    ):
        yield f"account of {what}", reverse(changed.format("account"), args=[account.pk])
        yield f"statement of {what}", reverse("admin:rewards_account_show_statement", args=[account.pk])


def pages_of_recipients() -> Iterator[tuple[str, tuple[str, str]]]:
    """Every page under `pages` that can be looked at, for somebody busy; what only takes posts is left out."""
    from django.urls import reverse

    from leaderboard.models import Board
    from rewards.cases.models import Case
    from rewards.distributions.models import Distribution, Reward
    from rewards.users.models import User
    from rewards_site.pages.urls import urlpatterns

    busy = User.objects.get(username=BUSY)
    everybody = Distribution.objects.get(programme="campaign:everybody")
    crowded = Case.objects.get(title="May everybody vote?")
    over = Case.objects.filter(title__startswith="Dilemma", payout="ledger").order_by("pk").last()
    hourly = Distribution.objects.filter(programme="pool_hourly", rewards__user=busy).order_by("pk").last()
    arguments: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "distribution": [("to everybody", {"pk": everybody.pk}), ("of an hour", {"pk": hourly.pk})],
        "case": [("open, crowded", {"pk": crowded.pk}), ("over", {"pk": over.pk})],
    }
    by_name = {"slug": Board.objects.order_by("slug").first().slug}
    by_name["id"] = by_name["reward_id"] = Reward.objects.get(distribution=everybody, user=busy).pk
    for pattern in urlpatterns:
        converters = set(pattern.pattern.converters)
        given = arguments.get(pattern.name) or [("", {name: by_name.get(name, everybody.pk) for name in converters})]
        if pattern.name == "logout" or not looked_at(pattern.callback):
            continue
        for what, names in given:
            who = "nobody" if pattern.name == "login" else "busy"
            title = f"recipient: {pattern.name} {what}".strip()
            yield title, (who, reverse(f"pages:{pattern.name}", kwargs=names))
    yield "recipient: distribution to everybody, signed out", (
        "nobody", reverse("pages:distribution", kwargs={"pk": everybody.pk}),
    )  # fmt: skip


def looked_at(view: Any) -> bool:
    """Whether a page answers to GET: what `require_POST` and the like let through stands in their closure."""
    while view is not None:
        for cell in getattr(view, "__closure__", None) or ():
            if isinstance(cell.cell_contents, list | tuple) and "POST" in cell.cell_contents:
                return "GET" in cell.cell_contents
        view = getattr(view, "__wrapped__", None)
    return True


# --------------------------------------------------------------------------------------------------------- measuring


def measure(
    sites: list[Callable[..., Any]], repeat: int, only: str, show: Callable[[Figures, int], None]
) -> list[Figures]:
    """Each page in turn on both sites, after a request to warm up; who comes first changes from round to round."""
    found = [ask("pages") for ask in sites]
    if missing := set(found[0]) ^ set(found[1]):
        print(f"Not on both sites, not measured: {', '.join(sorted(missing))}", file=sys.stderr)
    names = [name for name in found[0] if name in found[1] and re.search(only, name)]
    figures = []
    for name in names:
        asked = [(ask, *addresses[name]) for ask, addresses in zip(sites, found, strict=True)]
        try:
            figures.append(measure_page(name, asked, repeat))
        except RuntimeError as error:
            figures.append(Figures(name, 0, [], [], problem=str(error)))
        show(figures[-1], max(map(len, names)))
    return figures


def measure_page(name: str, asked: list[tuple[Callable[..., Any], str, str]], repeat: int) -> Figures:
    """Raises `RuntimeError` when the page does not open."""
    each = Figures(name, max(ask("queries", who, path) for ask, who, path in asked), [], [])
    for turn in range(repeat):
        of_both = list(zip(asked, (each.small, each.large), strict=True))
        for (ask, who, path), times in of_both[:: -1 if turn % 2 else 1]:
            times.append(ask("milliseconds", who, path))
    return each


def show_line(each: Figures, wide: int) -> None:
    if each.problem:
        print(f"{each.name:{wide}}  NO: {each.problem}", flush=True)
        return
    times = "  ".join(f"{median_and_spread(every):>24}" for every in (each.small, each.large))
    holds = "yes" if each.holds else "NO"
    ratio = median_and_spread(each.ratios)
    print(f"{each.name:{wide}}  {each.queries:>7}  {times}  {ratio:>18}  {holds}", flush=True)


def report(figures: list[Figures], sizes: list[int], seconds: float, disturbed: float) -> None:
    broken = [each for each in figures if not each.holds]
    print(f"page, queries, ms at {sizes[0]:,}, ms at {sizes[1]:,}, ratio, holds; of those that do not:")
    for each in broken:
        show_line(each, max(len(each.name) for each in broken))
    print(
        f"{len(figures)} pages in {seconds:.0f} s (canary {disturbed:.2f}), target: fewer than {MOST_QUERIES} queries, "
        f"{MOST_TIMES} times: {len(figures) - len(broken)} hold, {len(broken)} do not"
    )


if __name__ == "__main__":
    main()
