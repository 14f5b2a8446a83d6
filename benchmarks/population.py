"""Fills an empty PostgreSQL database with a product that has been in use for long: users, payouts, claims, cases.

    python -m benchmarks.population --database postgres://owner@host/empty [--transfers 10000] [--seed 7]

A tenth as many users as transfers. What the demo has, made by the product's own services, and before it as many days of
hourly and daily payouts, claims, transfers, events and so on as it takes, written set by set: everything as the product
would have left it, as far as a page or `check_ledger` can tell. Only the digests of these payouts are made up; one
payout to everybody is run by the product, with all of its proofs. The same seed gives the same population.

The owner of the database must be a superuser: foreign keys are not checked row by row while the rows are written.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.harness import set_up_django

BUSY = "user0000000"
"""Takes part in everything: a hundredth of all claims, a place in every payout."""

FEWEST = 110  # rows of whatever is listed: the first page of a list is full whatever the size
FEWEST_DAYS = 60
TRANSFERS_A_FURTHER_DAY = 40_000
PARTS_OF_HOURLY, PARTS_OF_DAILY = 0.40, 0.08
METRICS = ("cc_vote", "tests_completed", "correct_answers", "participations", "cases_won")
GRANT = 1_000  # minor units for each user, in the payout to everybody


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", required=True, help="an empty PostgreSQL database")
    parser.add_argument("--transfers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    set_up_django(options.database)
    print(json.dumps(populate(options.transfers, options.seed, show=lambda line: print(line, flush=True))))


@dataclass(frozen=True)
class Plan:
    """How much there is of what; `first_*` are the ids at which rows written here begin."""

    transfers: int
    standing: int  # transfers, before anything is written here
    seed: int
    at: datetime
    zone: str
    days: int
    starts_at: datetime
    first_user: int
    first_account: int
    first_journal: int
    first_distribution: int
    points: int
    coins: int

    @property
    def users(self) -> int:
        return self.transfers // 10

    @property
    def hours(self) -> int:
        return self.days * 24

    @property
    def in_an_hour(self) -> int:
        """Rewards of each hourly payout."""
        return max(2, int(self.transfers * PARTS_OF_HOURLY) // self.hours)

    @property
    def in_a_day(self) -> int:
        return max(10, int(self.transfers * PARTS_OF_DAILY) // self.days)

    @property
    def stakes(self) -> int:
        return max(FEWEST, self.users // 50)

    @property
    def on_chain(self) -> int:
        """Rewards of the payout that is claimed on the chain; every second claim is completed."""
        return max(FEWEST, self.users // 100)

    @property
    def claims(self) -> int:
        """What is left of the transfers when all others are made."""
        payouts = 2 * self.hours + self.hours * self.in_an_hour + self.days * (self.in_a_day)
        others = 2 * self.users + self.stakes + self.on_chain + self.completed_on_chain + 1
        return max(10, self.transfers - self.standing - payouts - others)

    @property
    def completed_on_chain(self) -> int:
        return self.on_chain // 2

    # Journals stand one after the other: accruals, chunks of hours, chunks of days, claims, sent, staked, on the chain.
    @property
    def claim_journal(self) -> int:
        return self.first_journal + 2 * self.hours + self.days

    @property
    def sent_journal(self) -> int:
        return self.claim_journal + self.claims

    @property
    def stake_journal(self) -> int:
        return self.sent_journal + self.users

    @property
    def chain_journal(self) -> int:
        return self.stake_journal + self.stakes


def populate(transfers: int, seed: int = 7, show: Callable[[str], None] = lambda line: None) -> dict[str, int]:
    """Make the population and return how many rows there are of what. The database is empty, or only migrated."""
    from django.utils import timezone

    at = timezone.now()
    with said(show, "schema and demo"):
        begin(at)
    plan = plan_for(transfers, seed, at)
    with said(show, "rows"):
        write_rows(plan, show)
    with said(show, "statistics"):
        execute("ANALYZE")
    for step in (pay_everybody, refresh_boards):
        with said(show, step.__name__):
            step(plan)
    seal()
    with said(show, "statistics"):
        execute("VACUUM (ANALYZE)")
    return counts()


def write_rows(plan: Plan, show: Callable[[str], None] = lambda line: None) -> None:
    """Everything that is written set by set."""
    with without_checks(), without_indexes(MASS):
        for step in STEPS:
            with said(show, f"  {step.__name__}"):
                step(plan)
        continue_sequences()


@contextmanager
def said(show: Callable[[str], None], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    show(f"{what}: {time.perf_counter() - started:.1f} s")


def begin(at: datetime) -> None:
    """The schema, what the product ships with, and the demo with its logins."""
    import logging

    from django.core.management import call_command

    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0)
    with open(os.devnull, "w") as nowhere:
        call_command("setup_defaults", stdout=nowhere)
        call_command("demo_data", stdout=nowhere)
    seal()
    logging.disable(logging.NOTSET)


def plan_for(transfers: int, seed: int, at: datetime) -> Plan:
    """The days of the population end where those of the demo begin."""
    from django.conf import settings
    from django.db.models import Min

    from rewards.ledger.models import Currency
    from rewards.pools.models import Accrual

    first = Accrual.objects.aggregate(first=Min("hour"))["first"]
    ends_at = first.replace(hour=0, minute=0, second=0, microsecond=0)
    days = FEWEST_DAYS + transfers // TRANSFERS_A_FURTHER_DAY
    return Plan(
        transfers=transfers, standing=value("SELECT count(*) FROM rewards_transfer"), seed=seed, at=at,
        zone=str(settings.REWARDS_TIME_ZONE), days=days, starts_at=ends_at - timedelta(days=days),
        first_user=next_id("rewards_user"), first_account=next_id("rewards_account"),
        first_journal=next_id("rewards_journal"), first_distribution=next_id("rewards_distribution"),
        points=Currency.objects.get(code="points").pk, coins=Currency.objects.get(code="coins").pk,
    )  # fmt: skip


def next_id(table: str) -> int:
    return int(value(f"SELECT coalesce(max(id), 0) + 1 FROM {table}"))


# ------------------------------------------------------------------------------------------------------ set by set


def execute(sql: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)


def value(sql: str) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def fill(model: str, rows: str, /, **columns: Any) -> None:
    """INSERT INTO the model's table SELECT … FROM `rows`: a column is an SQL expression, or its field's default."""
    from django.apps import apps
    from django.db import connection

    with connection.cursor() as cursor:
        texts = {}
        for field in apps.get_model(model)._meta.concrete_fields:
            if field.column in columns:
                texts[field.column] = str(columns.pop(field.column))
            elif not field.primary_key and not field.has_db_default():
                plain = field.get_db_prep_save(field.get_default(), connection)
                texts[field.column] = cursor.cursor.mogrify("%s", [plain]).decode()
        if columns:
            raise ValueError(f"{model} has no {', '.join(columns)}")
        names, table = ", ".join(f'"{name}"' for name in texts), apps.get_model(model)._meta.db_table
        cursor.execute(f'INSERT INTO "{table}" ({names}) SELECT {", ".join(texts.values())} FROM {rows}')


def series(number: int, name: str = "n", first: int = 0) -> str:
    """Rows with `n` from `first` on, as many as said."""
    return f"generate_series({first}::bigint, {first + number - 1}::bigint) AS {name}"


def json_of(**pairs: Any) -> str:
    """An expression for a JSON object of SQL expressions."""
    return f"jsonb_build_object({', '.join(f'{name!r}, {text}' for name, text in pairs.items())})"


def hour(plan: Plan, number: str) -> str:
    return f"(TIMESTAMPTZ '{plan.starts_at.isoformat()}' + ({number}) * INTERVAL '1 hour')"


def spread(plan: Plan, number: str, of: int) -> str:
    """The instant of one of so many things that are spread over all days, the oldest first."""
    return hour(plan, f"({number}::float8 * {plan.hours} / {of})")


def literal(at: datetime) -> str:
    return f"TIMESTAMPTZ '{at.isoformat()}'"


# --------------------------------------------------------------------------------------------- what is loaded, and how

MASS = (
    "rewards_transfer", "rewards_reward", "rewards_journal", "rewards_claim", "rewards_activityevent",
    "rewards_counter", "rewards_auditevent", "rewards_account", "rewards_user", "badges_badgeaward", "rewards_casevote",
)  # fmt: skip


@contextmanager
def without_checks() -> Iterator[None]:
    """Neither foreign keys nor other triggers are looked at row by row, and COMMIT waits for no disk."""
    execute("SET session_replication_role = replica; SET synchronous_commit = off; SET maintenance_work_mem = '384MB'")
    execute("SET work_mem = '256MB'; SET jit = off")
    try:
        yield
    finally:
        execute("RESET session_replication_role; RESET synchronous_commit; RESET maintenance_work_mem")
        execute("RESET work_mem; RESET jit")


@contextmanager
def without_indexes(tables: tuple[str, ...]) -> Iterator[None]:
    """Drop what is quicker made anew over all rows: indexes that neither are a primary key nor hold a foreign key."""
    from django.db import connection

    names = ", ".join(f"'{table}'::regclass" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT held.relname, made.relname, indexes.conname, pg_get_indexdef(index.indexrelid), "
            "pg_get_constraintdef(indexes.oid) FROM pg_index index "
            "JOIN pg_class held ON held.oid = index.indrelid JOIN pg_class made ON made.oid = index.indexrelid "
            "LEFT JOIN pg_constraint indexes ON indexes.conindid = index.indexrelid AND indexes.contype = 'u' "
            f"WHERE index.indrelid IN ({names}) AND NOT index.indisprimary AND NOT EXISTS "
            "(SELECT 1 FROM pg_constraint WHERE conindid = index.indexrelid AND contype = 'f')"
        )
        found = cursor.fetchall()
    for table, index, constraint, _, _ in found:
        execute(f'ALTER TABLE {table} DROP CONSTRAINT "{constraint}"' if constraint else f'DROP INDEX "{index}"')
    yield
    for table, _, constraint, definition, rule in found:
        execute(f'ALTER TABLE {table} ADD CONSTRAINT "{constraint}" {rule}' if constraint else definition)


def continue_sequences() -> None:
    """Whoever writes the next row gets an id of its own."""
    from django.apps import apps
    from django.db import connection

    with connection.cursor() as cursor:
        for model in apps.get_models():
            table, key = model._meta.db_table, model._meta.pk.column
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{table}"', key])
            if (sequence := cursor.fetchone()[0]) is not None:
                cursor.execute(f'SELECT setval(%s, coalesce(max("{key}"), 0) + 1, false) FROM "{table}"', [sequence])


# ------------------------------------------------------------------------------------------------- people and events


def write_users(plan: Plan) -> None:
    fill(
        "rewards.User", series(plan.users), id=f"{plan.first_user} + n", username="'user' || lpad(n::text, 7, '0')",
        name="'User ' || n", password="'!'", date_joined=spread(plan, "n", plan.users),
        wallet_address="CASE WHEN mod(n, 5) = 0 THEN '0x' || lpad(to_hex(n), 40, '0') ELSE '' END",
        is_special_partner="mod(n, 1000) = 1",
    )  # fmt: skip
    tokens = max(FEWEST, plan.users // 100)
    fill(
        "rewards.AccessToken", series(tokens), prefix="'token' || n", hash="md5(n::text) || md5('t' || n)",
        user_id=f"{plan.first_user} + mod(n * 100, {plan.users})", created_at=spread(plan, "n", tokens),
    )  # fmt: skip


def write_events(plan: Plan) -> None:
    """Two for each user, the first of them a vote; the busy one has a hundredth of them."""
    number = 2 * plan.users
    metrics = "(ARRAY[{}])".format(", ".join(f"'{metric}'" for metric in METRICS))
    at = f"({hour(plan, f'mod(n * 7 + {plan.seed}, {plan.hours})')} + mod(n, 3600) * INTERVAL '1 second')"
    fill(
        "rewards.ActivityEvent", series(number), event_id=f"'{plan.seed}:' || n",
        user_id=f"{plan.first_user} + CASE WHEN mod(n, 100) = 99 THEN 0 ELSE mod(n, {plan.users}) END",
        metric=f"CASE WHEN n < {plan.users} THEN 'cc_vote' ELSE {metrics}[1 + mod(n, {len(METRICS)})] END",
        quantity="(1 + mod(n, 100)) * 1000000", occurred_at=at, attributes=json_of(vote_type="'like'"),
        counted_month=f"CASE WHEN mod(n, 2000) <> 7 THEN to_char({at} AT TIME ZONE '{plan.zone}', 'YYYY-MM') END",
        late="mod(n, 1000) = 7", recorded_at=at,
    )  # fmt: skip
    events = f"rewards_activityevent WHERE user_id >= {plan.first_user}"
    grouped = "SELECT user_id, metric, {} AS month, sum(quantity) AS quantity FROM {} GROUP BY 1, 2, 3"
    for month, which in (("''", events), ("counted_month", f"{events} AND counted_month IS NOT NULL")):
        fill(
            "rewards.Counter", f"({grouped.format(month, which)}) sums", user_id="user_id", metric="metric",
            month="month", quantity="quantity",
        )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- payouts


@dataclass(frozen=True)
class Kind:
    """The payouts of one pool; `first` counts distributions and their rewards from the first of all."""

    pool: str
    number: int
    rewards: int
    hours: int
    key: str
    first_distribution: int
    first_journal: int


def kinds(plan: Plan) -> tuple[Kind, Kind]:
    after = plan.first_journal + plan.hours
    return (
        Kind("hourly", plan.hours, plan.in_an_hour, 1, "YYYY-MM-DD\"T\"HH24", plan.first_distribution, after),
        Kind("daily", plan.days, plan.in_a_day, 24, "YYYY-MM-DD", plan.first_distribution + plan.hours,
             after + plan.hours),
    )  # fmt: skip


def factor(plan: Plan, number: str) -> str:
    """Some payouts are five times as large as others."""
    return f"(1 + mod({number} * 31 + {plan.seed}, 5))"


def total(plan: Plan, kind: Kind, number: str) -> str:
    """Minor units of one payout: whoever comes a place later gets a unit times the factor less."""
    return f"({factor(plan, number)} * {10 * kind.rewards + kind.rewards * (kind.rewards - 1) // 2})"


def system_account(code: str, currency: int) -> int:
    own = f"user_id IS NULL AND code = '{code}' AND currency_id = {currency}"
    return int(value(f"SELECT id FROM rewards_account WHERE {own}"))


def write_accruals(plan: Plan) -> None:
    """What each hour brings in is what it pays, and a twenty-fourth of what its day pays."""
    hourly, daily = kinds(plan)
    of_hour, of_day = total(plan, hourly, "n"), f"({total(plan, daily, 'n / 24')} / 24)"
    # What a day does not divide by comes with its first hour.
    of_day = f"({of_day} + CASE WHEN mod(n, 24) = 0 THEN mod({total(plan, daily, 'n / 24')}, 24) ELSE 0 END)"
    key = f"to_char({hour(plan, 'n')} AT TIME ZONE 'UTC', '{hourly.key}')"
    journal, at = f"{plan.first_journal} + n", hour(plan, "n + 1")
    fill(
        "rewards.Accrual", series(plan.hours), hour=hour(plan, "n"), currency_id=plan.points, votes=20, voters=10,
        cc_amount=f"({of_hour} + {of_day}) * 50000", units_per_cc="'20'", intake=f"{of_hour} + {of_day}",
        hourly_amount=of_hour, daily_amount=of_day, journal_id=journal, accrued_at=at,
    )  # fmt: skip
    write_journals(series(plan.hours), journal, f"'accrual:' || {key}", "accrual", at)
    issuance = system_account("issuance", plan.points)
    for kind, amount in ((hourly, of_hour), (daily, of_day)):
        pool = system_account(f"pool:{kind.pool}", plan.points)
        write_transfers(series(plan.hours), journal, issuance, pool, amount, at, plan.points)
    fill(
        "rewards.ClosedStretch", "(VALUES (1)) AS one", metric="'cc_vote'", starts_at=literal(plan.starts_at),
        ends_at=hour(plan, str(plan.hours)),
    )  # fmt: skip


def write_journals(rows: str, number: str, key: str, kind: str, at: str, **more: Any) -> None:
    fill(
        "rewards.Journal", rows, id=number, key=key, kind=f"'{kind}'", created_at=at,
        fingerprint=f"md5({key}) || md5('f' || {key})", **more,
    )  # fmt: skip


def write_transfers(source: str, journal: str, debit: Any, credit: Any, amount: Any, at: str, currency: int) -> None:
    fill(
        "rewards.Transfer", source, journal_id=journal, debit_account_id=debit, credit_account_id=credit,
        amount=amount, created_at=at, currency_id=currency,
    )  # fmt: skip


def write_payouts(plan: Plan) -> None:
    for kind in kinds(plan):
        write_distributions(plan, kind)
        write_rewards(plan, kind)


def write_distributions(plan: Plan, kind: Kind) -> None:
    amount = total(plan, kind, "n")
    starts_at, ends_at = hour(plan, f"(n * {kind.hours})"), hour(plan, f"((n + 1) * {kind.hours})")
    number, paid_at = f"{kind.first_distribution} + n", f"({ends_at} + INTERVAL '31 minutes')"
    period = f"to_char({starts_at} AT TIME ZONE 'UTC', '{kind.key}')"
    digest = f"md5('{plan.seed}' || {number}) || md5('d' || {number})"
    slices = f"jsonb_build_array({json_of(name=repr('all'), paid=amount, amount=amount, members=kind.rewards)})"
    pool = system_account(f"pool:{kind.pool}", plan.points)
    fill(
        "rewards.Distribution", series(kind.number), id=number, programme=f"'pool_{kind.pool}'", period_key=period,
        starts_at=starts_at, ends_at=ends_at, currency_id=plan.points, source_account_id=pool, amount=amount,
        paid_amount=amount, recipients=kind.rewards, participants=kind.rewards, status="'paid'",
        rule=f"(SELECT rule FROM rewards_pool WHERE slug = '{kind.pool}')", digest=digest,
        results=json_of(facts="'{}'::jsonb", slices=slices, unpaid="0"), opened_at=ends_at, frozen_at=ends_at,
        allocated_at=ends_at, approved_at=paid_at, paying_at=paid_at, paid_at=paid_at,
        seconds=json_of(pay="0.1 + mod(n, 7) * 0.01", freeze="0.02", allocate="0.03"),
    )  # fmt: skip
    fill(
        "rewards.DistributionChunk", series(kind.number), distribution_id=number, number=0, first_position=1,
        last_position=kind.rewards, recipients=kind.rewards, amount=amount, root=digest,
        journal_id=f"{kind.first_journal} + n", paid_at=paid_at,
    )  # fmt: skip
    write_journals(
        series(kind.number), f"{kind.first_journal} + n", f"'pool_{kind.pool}:' || {period} || ':0'", "distribution",
        paid_at, source=f"'distribution:' || ({number}) || ':0'",
    )  # fmt: skip
    fill(
        "rewards.RewardLog", series(kind.number), distribution_id=number, type=f"'{kind.pool}'", time=starts_at,
        total=amount, counts=json_of(all=kind.rewards), created_at=paid_at,
    )  # fmt: skip


def write_rewards(plan: Plan, kind: Kind) -> None:
    """The busy one has the first place, a run of all others those after it."""
    source = f"{series(kind.number)}, {series(kind.rewards, 'p', 1)}"
    others = f"1 + mod(n * {kind.rewards - 1} + p - 2 + {plan.seed}, {plan.users - 1})"
    user = f"CASE WHEN p = 1 THEN 0 ELSE {others} END"
    amount = f"({10 + kind.rewards} - p) * {factor(plan, 'n')}"
    fill(
        "rewards.Reward", source, distribution_id=f"{kind.first_distribution} + n",
        user_id=f"{plan.first_user} + {user}", position="p", rank="p", score=f"({kind.rewards} + 1 - p)::text",
        amount=amount, breakdown=json_of(all=amount), salt="md5(n || ':' || p)",
    )  # fmt: skip
    paid_at = f"({hour(plan, f'((n + 1) * {kind.hours})')} + INTERVAL '31 minutes')"
    pool, to = system_account(f"pool:{kind.pool}", plan.points), f"{plan.first_account} + {user}"
    write_transfers(source, f"{kind.first_journal} + n", pool, to, amount, paid_at, plan.points)


# -------------------------------------------------------------------------------------------- claims, sent, staked


def write_claims(plan: Plan) -> None:
    """Fights won: coins from issuance, each under a journal of its own."""
    source, at = series(plan.claims), spread(plan, "n", plan.claims)
    user = f"CASE WHEN mod(n, 100) = 3 THEN 0 ELSE mod(n * 7 + {plan.seed}, {plan.users}) END"
    first, amount = next_id("rewards_claim"), "(5 + mod(n, 20))"
    given = json_of(user=f"'user' || lpad(({user})::text, 7, '0')", currency="'coins'", amount=f"{amount}::text")
    fill(
        "rewards.Claim", source, id=f"{first} + n", user_id=f"{plan.first_user} + {user}",
        claim_type_id="(SELECT id FROM rewards_claimtype WHERE slug = 'pve_victory')", claim_key="'fight-' || n",
        context=json_of(floor="1 + mod(n, 9)"),
        result=json_of(credits=f"jsonb_build_array({given})", debits="'[]'::jsonb", balances="'{}'::jsonb"),
        journal_id=f"{plan.claim_journal} + n", claimed_at=at,
    )  # fmt: skip
    write_journals(
        source, f"{plan.claim_journal} + n", f"'claim:' || ({first} + n)", "claim", at,
        reason="'Fight won'", source=f"'claim:' || ({first} + n)",
    )  # fmt: skip
    issuance = system_account("issuance", plan.coins)
    coins = f"{plan.first_account + plan.users} + {user}"
    write_transfers(source, f"{plan.claim_journal} + n", issuance, coins, amount, at, plan.coins)


def write_sent(plan: Plan) -> None:
    """Everybody sends his neighbour one, and has one from the other."""
    source, at = series(plan.users), spread(plan, "n", plan.users)
    write_journals(source, f"{plan.sent_journal} + n", "'sent:' || n", "transfer", at, reason="'Thank you'")
    to = f"{plan.first_account} + mod(n + 1, {plan.users})"
    write_transfers(source, f"{plan.sent_journal} + n", f"{plan.first_account} + n", to, 1, at, plan.points)


def first_stake_account(plan: Plan) -> int:
    return plan.first_account + 2 * plan.users + plan.on_chain


def write_stakes(plan: Plan) -> None:
    source, at, first = series(plan.stakes), spread(plan, "n", plan.stakes), next_id("rewards_stakingposition")
    fill(
        "rewards.StakingPosition", source, id=f"{first} + n", user_id=f"{plan.first_user} + n",
        currency_id=plan.points, staked=5, staked_at=at,
    )  # fmt: skip
    key = f"'stake:' || ({plan.first_account} + n) || ':' || n"
    write_journals(source, f"{plan.stake_journal} + n", key, "stake", at, source=f"'staking:' || ({first} + n)")
    own, apart = f"{plan.first_account} + n", f"{first_stake_account(plan)} + n"
    write_transfers(source, f"{plan.stake_journal} + n", own, apart, 5, at, plan.points)
    fill(
        "rewards.Account", source, id=apart, user_id=f"{plan.first_user} + n", currency_id=plan.points, balance=5,
        min_balance=0, code=f"'stake:' || ({first} + n)", created_at=at,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ cases and the chain


def write_cases(plan: Plan) -> None:
    """Cases that are over; the last of them is claimed on the chain, after it comes one in which everybody votes."""
    number, first = max(FEWEST, plan.transfers // 25_000), next_id("rewards_case")
    voters = max(5, plan.users // 2 // number)
    closed = hour(plan, f"(n * {plan.hours} / {number})")
    fill(
        "rewards.Case", series(number), id=f"{first} + n", title="'Dilemma ' || n", context="'A promise.'",
        status="'closed'", verdict="CASE WHEN mod(n, 2) = 0 THEN 'YES' ELSE 'NO' END", reasoning="'It was given.'",
        confidence="'0.9'", nonce="md5(n::text) || md5('n' || n)", verdict_hash="md5('v' || n) || md5('h' || n)",
        opens_at=f"{closed} - INTERVAL '1 day'", closes_at=closed, closed_at=closed, settled_at=closed,
        created_at=f"{closed} - INTERVAL '1 day'", yes_votes=voters // 2, no_votes=voters - voters // 2,
        reward_pool=100, payout=f"CASE WHEN n = {number - 1} THEN 'chain' ELSE 'ledger' END",
    )  # fmt: skip
    write_votes(plan, series(number), f"{first} + n", voters, f"n * {voters}", closed)
    at = literal(plan.at - timedelta(hours=1))
    crowd = max(FEWEST, plan.users // 10)
    fill(
        "rewards.Case", "(VALUES (1)) AS one", id=first + number, title="'May everybody vote?'", context="'All may.'",
        status="'active'", opens_at=at, closes_at=literal(plan.at + timedelta(days=300)), created_at=at,
        yes_votes=crowd // 2, no_votes=crowd - crowd // 2, verdict_hash="md5('v') || md5('h')",
    )  # fmt: skip
    write_votes(plan, "(VALUES (0)) AS one", str(first + number), crowd, "0", at)
    write_arguments(plan, first + number, max(FEWEST, crowd // 10), at)
    pay_on_chain(plan, first + number - 1)


def write_votes(plan: Plan, source: str, case: str, voters: int, first_user: str, at: str) -> None:
    fill(
        "rewards.CaseVote", f"{source}, {series(voters, 'p')}", case_id=case, voted_at=f"{at} - INTERVAL '1 hour'",
        user_id=f"{plan.first_user} + mod({first_user} + p, {plan.users})",
        side="CASE WHEN mod(p, 2) = 0 THEN 'YES' ELSE 'NO' END",
    )  # fmt: skip


def write_arguments(plan: Plan, case: int, number: int, at: str) -> None:
    """A tenth of the voters argue; each argument is liked by three."""
    first = next_id("rewards_argument")
    fill(
        "rewards.Argument", series(number), id=f"{first} + n", case_id=case, user_id=f"{plan.first_user} + n",
        side="CASE WHEN mod(n, 2) = 0 THEN 'YES' ELSE 'NO' END", text="'Reason ' || n || ': it is right.'", likes=3,
        created_at=at,
    )  # fmt: skip
    fill(
        "rewards.ArgumentLike", f"{series(number)}, {series(3, 'p', 1)}", argument_id=f"{first} + n", case_id=case,
        user_id=f"{plan.first_user} + mod(n + p, {number})", liked_at=at,
    )  # fmt: skip


def pay_on_chain(plan: Plan, case: int) -> None:
    """The payout of that case: each gets ten, half of them have claimed it, others are about to."""
    paid_at, each, distribution = hour(plan, str(plan.hours)), 10, plan.first_distribution + plan.hours + plan.days
    amount, escrow = each * plan.on_chain, first_stake_account(plan) + plan.stakes
    fill(
        "rewards.Account", "(VALUES (1)) AS one", id=escrow, currency_id=plan.points, code=f"'case:{case}'",
        created_at=paid_at,
    )  # fmt: skip
    fill(
        "rewards.Distribution", "(VALUES (1)) AS one", id=distribution, programme="'case'", period_key=f"'case:{case}'",
        currency_id=plan.points, source_account_id=escrow, amount=amount, paid_amount=amount, status="'paid'",
        recipients=plan.on_chain, participants=plan.on_chain, rule=json_of(rule="'equal'"), payout="'chain'",
        digest="md5('case') || md5('digest')", opened_at=paid_at, frozen_at=paid_at, allocated_at=paid_at,
        approved_at=paid_at, paying_at=paid_at, paid_at=paid_at, starts_at=paid_at, ends_at=paid_at,
    )  # fmt: skip
    fund, chunk = plan.chain_journal, plan.chain_journal + 1
    write_journals("(VALUES (1)) AS one", str(fund), f"'case:{case}:fund'", "case_fund", paid_at)
    write_transfers(
        "(VALUES (1)) AS one", str(fund), system_account("issuance", plan.points), escrow, amount, paid_at, plan.points
    )
    write_journals("(VALUES (1)) AS one", str(chunk), f"'case:case:{case}:0'", "distribution", paid_at)
    fill(
        "rewards.DistributionChunk", "(VALUES (1)) AS one", distribution_id=distribution, number=0, first_position=1,
        last_position=plan.on_chain, recipients=plan.on_chain, amount=amount, root="md5('case') || md5('digest')",
        journal_id=chunk, paid_at=paid_at,
    )  # fmt: skip
    source, reward = series(plan.on_chain), next_id("rewards_reward") + plan.transfers
    claimable = f"{plan.first_account + 2 * plan.users} + n"
    fill(
        "rewards.Reward", source, id=f"{reward} + n", distribution_id=distribution, user_id=f"{plan.first_user} + n",
        position="n + 1", rank=1, score="'1'", amount=each, breakdown=json_of(equal=each), salt="md5('chain' || n)",
    )  # fmt: skip
    write_transfers(source, str(chunk), escrow, claimable, each, paid_at, plan.points)
    fill(
        "rewards.Account", source, id=claimable, user_id=f"{plan.first_user} + n", currency_id=plan.points,
        code="'claimable'", balance=f"CASE WHEN n < {plan.completed_on_chain} THEN 0 ELSE {each} END",
        min_balance=0, created_at=paid_at,
    )  # fmt: skip
    claim_on_chain(plan, reward, each, claimable, paid_at)


def claim_on_chain(plan: Plan, reward: int, each: int, claimable: str, at: str) -> None:
    first_tx, done = next_id("rewards_chaintransaction"), plan.completed_on_chain
    tried = series(done + done // 2)
    status = f"CASE WHEN n < {done} THEN '{{}}' WHEN mod(n, 10) = 0 THEN 'failed' ELSE '{{}}' END"
    fill(
        "rewards.ChainSender", "(VALUES (1)) AS one", chain="'local'", address="'population'", next_nonce=2 * done,
    )  # fmt: skip
    fill(
        "rewards.ChainTransaction", tried, id=f"{first_tx} + n", tx_hash="md5('tx' || n) || md5(n || 'tx')",
        purpose="'reward'", payload_hash="md5('p' || n) || md5(n || 'p')", recipient="'0x' || lpad(to_hex(n), 40, '0')",
        sender_id="(SELECT max(id) FROM rewards_chainsender)", nonce="n", raw="''::bytea", submitted_at=at,
        confirmations=f"CASE WHEN n < {done} THEN 12 ELSE 0 END", status=status.format("confirmed", "submitted"),
    )  # fmt: skip
    write_journals(series(done), f"{plan.chain_journal + 2} + n", "'chain_claim:' || n", "chain_claim", at)
    own = f"{plan.first_account} + n"
    write_transfers(series(done), f"{plan.chain_journal + 2} + n", claimable, own, each, at, plan.points)
    fill(
        "rewards.RewardClaim", tried, reward_id=f"{reward} + n", user_id=f"{plan.first_user} + n",
        wallet_address="'0x' || lpad(to_hex(n), 40, '0')", status=status.format("completed", "processing"),
        transaction_id=f"{first_tx} + n", claimed_at=at,
        journal_id=f"CASE WHEN n < {done} THEN {plan.chain_journal + 2} + n END",
        finished_at=f"CASE WHEN n < {done} THEN {at} END",
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- balances


def write_accounts(plan: Plan) -> None:
    """An account in points and one in coins for everybody, and the balances that the transfers come to."""
    execute(
        "CREATE TEMP TABLE moved AS SELECT account, sum(amount)::bigint AS amount FROM ("
        "SELECT credit_account_id AS account, amount FROM rewards_transfer UNION ALL "
        "SELECT debit_account_id, -amount FROM rewards_transfer) halves GROUP BY 1"
    )
    for first, currency in ((plan.first_account, plan.points), (plan.first_account + plan.users, plan.coins)):
        fill(
            "rewards.Account", f"{series(plan.users)} LEFT JOIN moved ON moved.account = {first} + n",
            id=f"{first} + n", user_id=f"{plan.first_user} + n", currency_id=currency, min_balance=0,
            balance="coalesce(moved.amount, 0)", created_at=spread(plan, "n", plan.users),
        )  # fmt: skip
    execute(
        "UPDATE rewards_account SET balance = moved.amount FROM moved WHERE moved.account = rewards_account.id "
        "AND rewards_account.user_id IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM rewards_balancechange WHERE account_id = rewards_account.id)"
    )
    execute("DROP TABLE moved")


# ---------------------------------------------------------------------------------------------------- everything else


def write_pending(plan: Plan) -> None:
    """One for a hundred users waits, one for a thousand is dead, as many as wait were paid."""
    waiting, dead = max(FEWEST, plan.users // 100), max(FEWEST, plan.users // 1000)
    number, first = 2 * waiting + dead, next_id("rewards_pendingreward")
    kind = f"CASE WHEN n < {waiting} THEN {{}} WHEN n < {waiting + dead} THEN {{}} ELSE {{}} END"
    at = literal(plan.at)
    fill(
        "rewards.PendingReward", series(number), id=f"{first} + n", reward_id="'task-' || n",
        user_id=f"{plan.first_user} + mod(n, {plan.users})", amount="1 + mod(n, 50)", currency_id=plan.points,
        reward_type="'task'", reason="'A task done'", status=kind.format("'queued'", "'failed'", "'distributed'"),
        priority="(ARRAY['high', 'normal', 'low'])[1 + mod(n, 3)]", queued_at=f"{at} - n * INTERVAL '1 second'",
        not_before=f"{at} + INTERVAL '300 days'", retry_count=kind.format(0, 4, 0),
        processed_at=kind.format("NULL::timestamptz", at, at),
        distribution_id=kind.format("NULL::bigint", "NULL::bigint", plan.first_distribution),
        last_error=kind.format("''", "'The currency is not active.'", "''"),
    )  # fmt: skip


def write_deployments(plan: Plan) -> None:
    number = max(FEWEST, plan.users // 10)
    at = spread(plan, "n", number)
    name = "md5('deployment' || n)::uuid"
    fill(
        "rewards.Deployment", series(number), id=name, user_id=f"{plan.first_user} + n", name="'shop-' || n",
        status="'stopped'", created_at=at,
    )  # fmt: skip
    fill(
        "rewards.Replica", f"{series(number)}, {series(2, 'p')}", id="md5('replica' || n || ':' || p)::uuid",
        deployment_id=name, status="'stopped'", started_at=at, stopped_at=f"{at} + INTERVAL '1 hour'",
        rewarded_until=f"{at} + INTERVAL '1 hour'",
    )  # fmt: skip


def write_campaigns(plan: Plan) -> None:
    """Lists that are done with; the last one names a fifth of all users."""
    number, first, at = max(FEWEST, plan.transfers // 100_000), next_id("rewards_campaign"), literal(plan.at)
    lines = f"CASE WHEN n = {number - 1} THEN {plan.users // 5} ELSE 5 END"
    fill(
        "rewards.Campaign", series(number), id=f"{first} + n", slug="'list-' || n", title="'List ' || n",
        currency_id=plan.points, amount=1000, participants=json_of(source="'upload'"), rule=json_of(rule="'equal'"),
        status="'done'", rows=lines, rows_digest="md5(n::text)", created_at=at, updated_at=at,
    )  # fmt: skip
    for source, users in (
        (series(number - 1), 5),
        (f"generate_series({number - 1}, {number - 1}) AS n", plan.users // 5),
    ):
        fill(
            "rewards.CampaignParticipant", f"{source}, {series(users, 'p')}", campaign_id=f"{first} + n",
            user_id=f"{plan.first_user} + p", weight="'1'",
        )  # fmt: skip


def write_awards(plan: Plan) -> None:
    """Some badges are held by many, others by few; the busy one has all of them."""
    badges = "(SELECT id, row_number() OVER (ORDER BY id) AS nth FROM badges_badge) badge"
    fill(
        "badges.BadgeAward", f"{series(plan.users)} JOIN {badges} ON mod(n, 1 + 3 * badge.nth) = 0",
        badge_id="badge.id", user_id=f"{plan.first_user} + n", awarded_at=spread(plan, "n", plan.users),
    )  # fmt: skip


def write_audit(plan: Plan) -> None:
    """One event for ten transfers."""
    number = plan.transfers // 10
    kinds_of_events = "(ARRAY['claimed', 'reward_distributed', 'transferred', 'parameter_changed'])[1 + mod(n, 4)]"
    fill(
        "rewards.AuditEvent", series(number), event_id=f"md5('{plan.seed}:' || n)::uuid", event_type=kinds_of_events,
        distribution_id=f"CASE WHEN mod(n, 4) = 1 THEN {plan.first_distribution} + mod(n, {plan.hours}) END",
        user_id=f"CASE WHEN mod(n, 4) <> 3 THEN {plan.first_user} + mod(n * 3, {plan.users}) END",
        amount="1 + mod(n, 99)", currency_id=plan.points, data=json_of(number="n"), timestamp=spread(plan, "n", number),
    )  # fmt: skip


def write_seals(plan: Plan) -> None:
    """A seal over each thousand of those events, of ten where they are few; what they say of the events is made up."""
    each = 1000 if plan.transfers > 1_000_000 else 10
    first = value(f"SELECT min(id) FROM rewards_auditevent WHERE event_id = md5('{plan.seed}:0')::uuid")
    head = value("SELECT hash FROM rewards_auditseal ORDER BY id DESC LIMIT 1")
    sealed = (
        f"(SELECT (id - {first}) / {each} AS n, min(id) AS first, max(id) AS last, max(timestamp) AS at, "
        "jsonb_agg(jsonb_build_array(id, md5(id::text) || md5('e' || id)) ORDER BY id) AS entries, "
        "max(transaction_number) AS number "
        f"FROM rewards_auditevent WHERE id >= {first} GROUP BY 1 ORDER BY 1) runs"
    )
    made_up = "md5('seal' || {0}) || md5({0} || 'seal')"
    fill(
        "rewards.AuditSeal", sealed, first_event="first", last_event="last", last_transaction_number="number",
        entries="entries", sealed_at="at", hash=made_up.format("n"),
        previous_hash=f"CASE WHEN n = 0 THEN '{head}' ELSE {made_up.format('(n - 1)')} END",
    )  # fmt: skip


def write_runs(plan: Plan) -> None:
    """Runs of jobs, one of a hundred failed; the newest of each succeeded, the ledger was checked a minute ago."""
    from rewards.jobs.registry import JOBS

    number, names = max(60 * FEWEST, plan.transfers // 100), ", ".join(f"'{name}'" for name in sorted(JOBS))
    failed, at = "(mod(n, 100) = 50)", spread(plan, "n", number)
    run = {"worker": "'worker@host:1'", "seconds": "0.5"}
    fill(
        "rewards.JobRun", series(number), job=f"(ARRAY[{names}])[1 + mod(n, {len(JOBS)})]", started_at=at,
        status=f"CASE WHEN {failed} THEN 'failed' ELSE 'succeeded' END", heartbeat_at=at, finished_at=at, items="n",
        successes="n", error=f"CASE WHEN {failed} THEN 'It broke' ELSE '' END", **run,
    )  # fmt: skip
    at = literal(plan.at - timedelta(minutes=1))
    fill(
        "rewards.JobRun", f"unnest(ARRAY[{names}]) AS job", job="job", started_at=at, status="'succeeded'",
        heartbeat_at=at, finished_at=at, results=json_of(promises=11, broken=0), **run,
    )  # fmt: skip


def write_alerts(plan: Plan) -> None:
    number = max(FEWEST, plan.users // 1000)
    fill(
        "rewards.Alert", series(number), severity="'warning'", code="'pool_nearly_dry'", subject="'subject-' || n",
        message="'Three days are left.'", first_seen=spread(plan, "n", number), last_seen=spread(plan, "n", number),
        resolved_at=f"CASE WHEN n < {number - 5} THEN {literal(plan.at)} END",
    )  # fmt: skip


def write_partner_transfers(plan: Plan) -> None:
    partners, hours = max(1, plan.users // 10_000), min(240, plan.hours)
    fill(
        "rewards.PartnerTransfer", f"{series(partners)}, {series(hours, 'h')}", time=hour(plan, "h"), amount=100,
        partner_id=f"{plan.first_user} + 1 + n * 1000", currency_id=plan.points, created_at=hour(plan, "h"),
        sent_at=hour(plan, "h + 1"), attempts=1,
    )  # fmt: skip


STEPS: tuple[Callable[[Plan], None], ...] = (
    write_users, write_events, write_accruals, write_payouts, write_claims, write_sent, write_stakes, write_cases,
    write_accounts, write_pending, write_deployments, write_campaigns, write_awards, write_audit, write_seals,
    write_runs, write_alerts, write_partner_transfers,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ made by the product


def pay_everybody(plan: Plan) -> None:
    """A campaign that pays everybody who has voted, by the product's own services: digest and proofs are real."""
    from rewards.campaigns.services import create_campaign, run
    from rewards.distributions.services import advance
    from rewards.ledger.models import Currency

    campaign = create_campaign(
        slug="everybody", title="Everybody", currency=Currency.objects.get(pk=plan.points), amount=GRANT * plan.users,
        participants={"source": "counter", "metric": "cc_vote", "month": ""}, rule={"rule": "proportional"}, at=plan.at,
    )  # fmt: skip
    paid = advance(run(campaign.pk, None, plan.at).pk)
    if paid.status != "paid":
        raise SystemExit(f"The payout to everybody ended as {paid.status}: {paid.error}")


def refresh_boards(plan: Plan) -> None:
    from leaderboard.models import Board
    from leaderboard.services import refresh_board

    for board in Board.objects.filter(active=True):
        refresh_board(board, plan.at)


def seal() -> None:
    from rewards.audit.services import seal_events

    while seal_events():
        pass


def counts() -> Mapping[str, int]:
    tables = (*MASS, "rewards_distribution", "rewards_jobrun", "rewards_pendingreward", "rewards_auditseal")
    return {table: int(value(f"SELECT count(*) FROM {table}")) for table in tables}


if __name__ == "__main__":
    main()
