"""Nine badges over everybody: the first check, and one that finds nothing new, each beside its floor.

    python -m benchmarks.badges [--database postgres://user@host/any] [--sizes 100000 1000000] [--repeat 5] [--checks 7]

The first check gives about 1.75 badges to each user with a bonus for each: awards, journals, transfers, balances,
audit, bits, in steps. Its floor is what PostgreSQL needs at least for the same rows: for each badge an INSERT … SELECT
of the awards into a table with the same keys, indexes and constraints, one of the transfers, and one UPDATE of the
balances. The floor of a check that finds nothing new is the mere evaluation: nine SELECT count(*) with the nine
conditions. That of the badges of a month's paid ranking, one for everybody, is an INSERT … SELECT for each tier. Both
run in turn in one process run, now the one first and now the other, and append to tables that grow alike.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.harness import (
    canary,
    median_and_spread,
    peak_memory_mb,
    run_alone,
    set_up_django,
    timed,
)

TABLES = (
    "rewards_user", "rewards_counter", "rewards_account", "rewards_transfer", "rewards_reward", "badges_badgeaward",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, help="first checks, and months; 5, or 3 for a million users")
    parser.add_argument("--checks", type=int, default=7, help="checks that find nothing new")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.database, options.one, options.repeat, options.checks)))
        return
    for size in options.sizes:
        repeat = options.repeat or (5 if size < 1_000_000 else 3)
        one = ("--one", size, "--repeat", repeat, "--checks", options.checks)
        report(size, run_alone("badges", options.database, *one))


def report(size: int, result: dict) -> None:
    print(
        f"{size:,} users, {result['given']:,} badges given in each first check; "
        f"{result['memory_mb']:.0f} MB, canary {median_and_spread(result['canary'])} s"
    )
    for what in ("first", "nothing_new", "month"):
        engine, floor = result[what]["engine"], result[what]["floor"]
        ratios = [ours / least for ours, least in zip(engine, floor, strict=True)]
        print(
            f"  {what.replace('_', ' '):<12} engine {median_and_spread(engine)} s, floor {median_and_spread(floor)} s, "
            f"ratio {median_and_spread(ratios)}"
        )


def measure(database_url: str, size: int, repeat: int, checks: int) -> dict:
    set_up_django(database_url)
    from django.core.management import call_command

    from rewards.parameters.services import set_parameter

    call_command("migrate", verbosity=0)
    people(size)
    set_parameter("badges.beta_ends_at", BETA_ENDS, actor=None, reason="benchmark")
    floor = Floor()
    result: dict = {what: {"engine": [], "floor": []} for what in ("first", "nothing_new", "month")} | {"canary": []}
    for number in range(repeat):
        result["canary"].append(canary())
        badges = new_badges(number)
        by = {"engine": lambda: check(give=None), "floor": lambda badges=badges: floor.give(badges)}
        in_turn(result["first"], by, number)
        result["given"] = floor.compare(badges)
    settle_database()
    for _ in range(checks):
        result["nothing_new"]["engine"].append(timed(lambda: check(give=0)))
        result["nothing_new"]["floor"].append(timed(lambda badges=badges: evaluate(badges)))
    for number in range(repeat):
        paid = paid_ranking(number)
        by = {"engine": lambda: award_month(size), "floor": lambda paid=paid: floor.give_month(paid)}
        in_turn(result["month"], by, number)
    result["memory_mb"] = peak_memory_mb()
    return result


def in_turn(times: dict, by: dict, number: int) -> None:
    """Run both after each other, in every other round the last one first."""
    for which in sorted(by, reverse=number % 2 == 1):
        settle_database()
        times[which].append(timed(by[which]))


# --------------------------------------------------------------------------------------------------------- who did what

BETA_ENDS = "2026-01-01T00:00:00+00:00"

# Metric → how many by the user's number from 0 to 99 in a fixed shuffle: NULL has no counter.
COUNTS = {
    "cases_won": "CASE WHEN n < 10 THEN 10 + n WHEN n < 20 THEN 5 WHEN n < 50 THEN 1 + n %% 4 END",
    "top_arguments": "CASE WHEN n < 5 THEN 3 WHEN n < 15 THEN 1 END",
    "participations": "CASE WHEN n < 20 THEN 20 + n ELSE 1 + n %% 19 END",
    "votes": "CASE WHEN n < 15 THEN 50 + n WHEN n < 90 THEN 1 + n %% 49 END",
}


def people(size: int) -> None:
    """`size` users with counters, in all and of a month, and with an account in points, as after a while of use."""
    from django.db import connection

    from rewards.ledger.models import ISSUANCE, Currency
    from rewards.ledger.services import system_account
    from rewards.users.models import NO_PASSWORD

    currency = Currency.objects.create(code="points", decimals=0)
    system_account(ISSUANCE, currency)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rewards_user (username, password, name, email, time_zone, wallet_address, date_joined, "
            "is_active, is_staff, is_superuser, is_special_partner, has_cc_market) "
            "SELECT 'user' || lpad(number::text, 7, '0'), %s, '', '', '', "
            "CASE WHEN number * 7919 %% 100 < 20 THEN '0x' || number ELSE '' END, "
            "CASE WHEN number * 104729 %% 100 < 20 THEN '2025-06-01'::timestamptz ELSE '2026-06-01' END, "
            "true, false, false, false, false FROM generate_series(1, %s::bigint) number",
            [NO_PASSWORD, size],
        )
        cursor.execute(
            "INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at) "
            "SELECT %s, id, '', 0, 0, now() FROM rewards_user ORDER BY id",
            [currency.pk],
        )
        for shuffle, (metric, counts) in zip(
            (1_299_709, 15_485_863, 32_452_843, 49_979_687), COUNTS.items(), strict=True
        ):
            cursor.execute(
                "INSERT INTO rewards_counter (user_id, metric, month, quantity) "
                f"SELECT id, %s, month, counted * 1000000 FROM (SELECT id, ({counts}) AS counted FROM "
                "(SELECT id, id * %s / 7 %% 100 AS n FROM rewards_user) shuffled) counts, "
                "(VALUES (''), ('2026-11')) months (month) WHERE counted IS NOT NULL ORDER BY id",
                [metric, shuffle],
            )


def new_badges(number: int) -> list:
    """The nine that the product ships with, under slugs of this run; those of the run before are switched off."""
    from badges.models import Badge
    from badges.setup import default_badges

    Badge.objects.update(active=False)
    badges = default_badges()
    for badge in badges:
        badge.slug = f"{badge.slug}_{number}"
        badge.save()
    return badges


def settle_database() -> None:
    """Leave nothing of the run before to this one: neither a due checkpoint nor dead rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {', '.join((*TABLES, *FLOOR_TABLES.values()))}")
        cursor.execute("CHECKPOINT")


def check(give: int | None) -> None:
    from django.utils import timezone

    from badges.services import check_badges

    result = check_badges(timezone.now())
    if result.errors or (give is not None and result.awarded != give):
        raise SystemExit(f"The check gave {result.figures()}")


TIERS = {"Champion": 1, "Elite": 10, "Achiever": 50, "Performer": 100, "Unplaced": None}


def paid_ranking(number: int):
    """The ranking of everybody in a month of its own, as it stands when it is paid; the tiers have their badges."""
    from django.db import connection

    from badges.models import Badge
    from rewards.distributions.models import Distribution
    from rewards.ledger.models import ISSUANCE, Account

    for tier in TIERS:
        about = {"name": f"Monthly {tier}", "repeat": "per_period", "active": True}
        Badge.objects.get_or_create(slug=f"monthly-{tier.lower()}", defaults=about)
    source = Account.objects.get(code=ISSUANCE, user=None)
    distribution = Distribution.objects.create(
        programme="monthly:students", period_key=f"{2026 + number // 12}-{number % 12 + 1:02}",
        currency=source.currency, source_account=source, status="paid", rule={"rule": "tiers"},
        results={"slices": [{"name": tier, "paid": 1} for tier in TIERS]},
    )  # fmt: skip
    tier = " ".join(f"WHEN id <= {last} THEN '{name}'" for name, last in TIERS.items() if last)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rewards_reward (distribution_id, user_id, position, rank, score, amount, breakdown, salt) "
            f"SELECT %s, id, id, id, '1', 10, jsonb_build_object(CASE {tier} ELSE 'Unplaced' END, 10), '' "
            "FROM rewards_user ORDER BY id",
            [distribution.pk],
        )
    return distribution


def award_month(expected: int) -> None:
    from django.utils import timezone

    from badges.services import award_paid_rankings

    given = award_paid_rankings(timezone.now())
    if given.rankings != expected or given.refused:
        raise SystemExit(f"The month's badges: {given}")


# ------------------------------------------------------------------------------------------------------------ the floor

FLOOR_TABLES = {
    "rewards_account": "floor_account",
    "rewards_transfer": "floor_transfer",
    "badges_badgeaward": "floor_badgeaward",
}


def condition_of(badge) -> tuple[str, list]:
    """The user ids that meet a badge's condition, as the check asks for them."""
    from badges.criteria import condition

    who = condition(badge, "")
    return f"SELECT {who.user_id} AS user_id FROM {who.table} WHERE {who.where}", [*who.parameters]


def evaluate(badges: list) -> int:
    """Nothing but the nine conditions."""
    from django.db import connection

    found = 0
    with connection.cursor() as cursor:
        for badge in badges:
            sql, parameters = condition_of(badge)
            cursor.execute(f"SELECT count(*) FROM ({sql}) who", parameters)
            found += cursor.fetchone()[0]
    return found


class Floor:
    """The same rows by bare statements, into tables with the same keys, indexes and constraints."""

    def __init__(self) -> None:
        from django.db import connection

        self.connection = connection
        with connection.cursor() as cursor:
            for table, copy in FLOOR_TABLES.items():
                cursor.execute(f"CREATE TABLE {copy} (LIKE {table} INCLUDING ALL)")
            cursor.execute("ALTER TABLE floor_account SET (fillfactor = 50)")  # as the engine's
            cursor.execute("INSERT INTO floor_account SELECT * FROM rewards_account")
            for table, copy in FLOOR_TABLES.items():
                self._same_references(cursor, table, copy)

    def _same_references(self, cursor, table: str, copy: str) -> None:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND conrelid = %s::regclass",
            [table],
        )
        for name, definition in cursor.fetchall():
            for original, same in FLOOR_TABLES.items():
                definition = definition.replace(f"REFERENCES {original}(", f"REFERENCES {same}(")
            cursor.execute(f"ALTER TABLE {copy} ADD CONSTRAINT floor_{name[:50]} {definition}")

    def give(self, badges: list) -> None:
        """Everything in one transaction, three statements for each badge."""
        from django.db import transaction

        from rewards.common.database import expect_many_rows
        from rewards.ledger.models import ISSUANCE, Account, Journal

        issuance = Account.objects.get(code=ISSUANCE, user=None)
        with transaction.atomic(), self.connection.cursor() as cursor:
            expect_many_rows()
            for badge in badges:
                journal = Journal.objects.create(key=f"floor:{badge.slug}", kind="floor", fingerprint="")
                who, parameters = condition_of(badge)
                cursor.execute(
                    "INSERT INTO floor_badgeaward "
                    "(badge_id, user_id, period_key, version, awarded_at, journal_id, reason) "
                    f"SELECT %s, who.user_id, '', 1, now(), %s, '' FROM ({who}) who ORDER BY who.user_id",
                    [badge.pk, journal.pk, *parameters],
                )
                cursor.execute(
                    "INSERT INTO floor_transfer "
                    "(journal_id, debit_account_id, credit_account_id, currency_id, amount, created_at) "
                    f"SELECT %s, %s, account.id, account.currency_id, %s, now() FROM ({who}) who "
                    "JOIN floor_account account ON account.user_id = who.user_id AND account.code = '' "
                    "AND account.currency_id = %s ORDER BY account.id",
                    [journal.pk, issuance.pk, badge.bonus, *parameters, issuance.currency_id],
                )
                cursor.execute(
                    f"UPDATE floor_account account SET balance = balance + %s FROM ({who}) who "
                    "WHERE account.user_id = who.user_id AND account.code = '' AND account.currency_id = %s",
                    [badge.bonus, *parameters, issuance.currency_id],
                )

    def give_month(self, distribution) -> None:
        from django.db import transaction

        from badges.models import Badge

        with transaction.atomic(), self.connection.cursor() as cursor:
            for tier in TIERS:
                cursor.execute(
                    "INSERT INTO floor_badgeaward (badge_id, user_id, period_key, version, awarded_at, reason) "
                    "SELECT %s, user_id, %s, 1, now(), '' FROM rewards_reward "
                    "WHERE distribution_id = %s AND breakdown ? %s ORDER BY user_id",
                    [
                        Badge.objects.get(slug=f"monthly-{tier.lower()}").pk,
                        f"students:{distribution.period_key}",
                        distribution.pk,
                        tier,
                    ],
                )

    def compare(self, badges: list) -> int:
        """How many badges were given; stops where engine and floor do not agree."""
        with self.connection.cursor() as cursor:
            counts = []
            for table in ("badges_badgeaward", "floor_badgeaward"):
                cursor.execute(
                    f"SELECT count(*) FROM {table} WHERE badge_id = ANY(%s)", [[badge.pk for badge in badges]]
                )
                counts.append(cursor.fetchone()[0])
            cursor.execute(
                "SELECT count(*) FROM rewards_account JOIN floor_account same USING (id) "
                "WHERE rewards_account.user_id IS NOT NULL AND rewards_account.balance <> same.balance"
            )
            counts.append(cursor.fetchone()[0])
        if counts[0] != counts[1] or counts[2]:
            raise SystemExit(f"Engine and floor differ: {counts}")
        return counts[0]


if __name__ == "__main__":
    main()
