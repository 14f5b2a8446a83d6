"""Every parameter of the product: its default, what it means, and what it may be.

Who needs a new one adds it here; `manage.py setup_defaults` creates its row, `manage.py document_parameters` its line
in `docs/parameters.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rewards.parameters.checks import (
    Check,
    code_of,
    decimal_number,
    empty_or_instant,
    list_of,
    name_out_of,
    power_of_two,
    problem_of_boolean,
    steps_to,
    table_of,
    whole_number,
)


@dataclass(frozen=True)
class Definition:
    """`default` is used as long as the parameter has no row. `allowed` says in words what `check` accepts."""

    default: Any
    description: str
    allowed: str = "any JSON value"
    check: Check | None = None


def _switch(default: bool, description: str) -> Definition:
    return Definition(default, description, "true or false", problem_of_boolean)


def _whole(default: int, minimum: int, maximum: int, description: str) -> Definition:
    return Definition(default, description, f"{minimum} to {maximum}", whole_number(minimum, maximum))


def _code(default: str, of: str, description: str) -> Definition:
    return Definition(default, description, f"the code of {of}", code_of(of))


def _amount(default: int | str, description: str, *, maximum: int = 10**9) -> Definition:
    """A number that a recipe calculates with."""
    allowed = f'0 to {maximum}, such as 2 or "1.1"'
    return Definition(default, description, allowed, decimal_number(0, maximum))


METALS = ("bronze", "silver", "gold", "platinum", "diamond")

_ENGINE: dict[str, Definition] = {
    "payouts_paused": _switch(
        False, "Nothing is paid while this is on: payouts stay where they are and continue when it is lifted."
    ),
    "corrections.approval_limit": _whole(
        0, 0, 10**9, "From so many units a correction for late events is approved by a second person. 0: each of them."
    ),
    "corrections.daily_limit": _whole(
        1_000, 0, 10**9, "Units that one person may give to and take from users in a day, in each currency. 0: none."
    ),
    "corrections.daily_limit_by_currency": Definition(
        {},
        "Code of a currency → its own corrections.daily_limit.",
        'an object such as {"auric_coins": 10}',
        table_of(whole_number(0, 10**9)),
    ),
    "distributions.chunk_rows": Definition(
        65_536,
        "Rewards paid by one transaction. A power of two, so that each chunk is a subtree of the digest.",
        "a power of two from 2 to 1048576",
        power_of_two(2, 1_048_576),
    ),
    "distributions.stuck_after_minutes": _whole(
        15, 1, 10_080, "A payout that has not moved on for this long is shown as stuck."
    ),
    "pools.runway_alert_days": _whole(
        3, 1, 365, "There is an alert when a pool, or another account that pays, will not last so many days."
    ),
    "api.user_requests_per_minute": _whole(
        600, 1, 1_000_000, "How often a user may call the API. What a machine may stands in its API key."
    ),
    "health.stale_after_seconds": _whole(
        30, 5, 3_600, "A worker or scheduler not heard of for this long makes /readyz answer 503."
    ),
    "jobs.budget_seconds": _whole(
        60, 1, 80, "How long a scheduled job works before it hands over to its next run; tasks are stopped after 90."
    ),
    "jobs.keep_days": _whole(90, 1, 3_650, "The daily clean-up deletes job runs that are older."),
    "jobs.lost_after_seconds": _whole(
        120, 30, 86_400, "A running job without a heartbeat for this long is taken to be dead; another run takes over."
    ),
}

_PENDING: dict[str, Definition] = {
    "pending.currency": _code("points", "a currency", "What staking and running replicas earn."),
    "pending.source": _code("issuance", "a system account", "Pays what is pending, such as issuance or treasury."),
    "pending.staking_apy": _amount("0.05", "What a staked unit earns in a year of 8,760 hours.", maximum=1_000),
    "pending.staking_threshold": _amount("0.001", "Staking rewards are pending once they are above so many units."),
    "pending.runtime_per_hour": _amount(10, "Units that a running or stopping replica earns in an hour."),
    "pending.runtime_threshold": _amount("0.01", "Runtime rewards are pending once they are above so many units."),
    "pending.batch_rows": _whole(500, 1, 10_000, "Rewards that the drainer takes from the queue in one transaction."),
    "pending.backoff_seconds": _whole(
        60, 1, 86_400, "A reward that failed is tried again after so long; each further time twice as long."
    ),
    "pending.backoff_most_seconds": _whole(3_600, 1, 2_592_000, "The longest wait between two tries of a reward."),
    "pending.shutdown_seconds": _whole(
        5, 0, 60, "How long a worker that is shut down goes on paying what is pending. 0: it leaves it to others."
    ),
}

_PLAYERS: dict[str, Definition] = {
    "player.progression.base_energy": _whole(100, 0, 10**6, "Maximum energy without energy points."),
    "player.progression.energy_per_point": _whole(10, 0, 10**6, "Maximum energy that an energy point adds."),
    "player.progression.base_stamina": _whole(100, 0, 10**6, "Maximum stamina without stamina points."),
    "player.progression.stamina_per_point": _whole(10, 0, 10**6, "Maximum stamina that a stamina point adds."),
    "player.progression.base_hp": _whole(500, 0, 10**6, "Maximum HP without HP points."),
    "player.progression.hp_per_point": _whole(50, 0, 10**6, "Maximum HP that an HP point adds."),
    "drop_charges.regen_seconds": _whole(3_600, 1, 31_536_000, "A drop charge comes back each time so much passes."),
    "drop_charges.maximum": _whole(3, 0, 1_000, "Drop charges regenerate up to here, for who has no upgrade."),
    "drop_charges.hard_cap": _whole(10, 0, 1_000, "No upgrade lifts a player's maximum of drop charges above it."),
    "drop_system.auric_coin_per_drop": _amount(5, "Auric coins that a drop gives, before the bonus of the class."),
    "drop_system.class_bonus": Definition(
        {},
        "Player class → what the auric coins of a drop are multiplied by; 1 for classes that are not in it. A player's "
        "own client says his class: no class may have more than any player may take.",
        'an object such as {"alchemist": "1.5"}',
        table_of(decimal_number(0, 1_000)),
    ),
    "combat.rewards.base_lumees": _amount(100, "Lumees for a PvE victory."),
}

_CLAIMS: dict[str, Definition] = {
    "claims.ascension_victory.lumees_base": _amount(15, "Lumees for floor 1; × floor ** lumees_exponent."),
    "claims.ascension_victory.lumees_exponent": _amount("1.1", "How steeply lumees grow with the floor.", maximum=10),
    "claims.ascension_victory.xp_base": _amount(10, "XP for floor 1; × floor ** xp_exponent."),
    "claims.ascension_victory.xp_exponent": _amount("1.1", "How steeply XP grows with the floor.", maximum=10),
    "claims.ascension_victory.token_every_floors": _whole(5, 1, 10**6, "Every so many floors there are tokens."),
    "claims.ascension_victory.tokens": _whole(1, 0, 10**6, "Tokens then, of the floor's kind."),
    "claims.ascension_victory.token_kinds": Definition(
        [[10, "bronze"], [25, "silver"], [50, "gold"], [100, "platinum"], [None, "diamond"]],
        "Floors up to → the kind of their tokens.",
        f"rows [up to, kind] with growing numbers, the last may be null; kinds: {', '.join(METALS)}",
        steps_to(name_out_of(*METALS)),
    ),
    "claims.ascension_victory.milestone_tokens": Definition(
        {"50": {"gold": 3, "platinum": 1}, "100": {"platinum": 3, "diamond": 1}},
        "Floor → kind → tokens on top of all others.",
        f'an object such as {{"50": {{"gold": 3}}}}; kinds: {", ".join(METALS)}',
        table_of(table_of(whole_number(0, 10**6), *METALS)),
    ),
    "claims.pvp_victory.winner_lumees": _amount(50, "Lumees for the winner of a PvP fight."),
    "claims.pvp_victory.winner_xp": _amount(25, "XP for the winner of a PvP fight."),
    "claims.pvp_victory.loser_lumees": _amount(10, "Lumees for the loser of a PvP fight."),
    "claims.pvp_victory.loser_xp": _amount(5, "XP for the loser of a PvP fight."),
    "claims.pve_victory.xp": _amount(50, "XP for a PvE victory."),
    "claims.matron_victory.lumees_base": _amount(1_000, "Lumees for a matron of sector 1."),
    "claims.matron_victory.xp_base": _amount(100, "XP for a matron of sector 1."),
    "claims.matron_victory.sector_growth": _amount(
        "1.0", "Each further sector adds so many times the reward of sector 1.", maximum=1_000
    ),
    "claims.matron_victory.boss_factor": _amount(
        2, "A boss gives so many times the lumees and XP of another matron.", maximum=1_000
    ),
    "claims.matron_victory.drop_charges": _whole(1, 0, 1_000, "Drop charges for a matron."),
    "claims.matron_victory.fusion_catalysts": _whole(1, 0, 10**6, "Fusion catalysts for a matron."),
    "claims.daily_quest.lumees": _amount(100, "Lumees for the daily quest."),
    "claims.daily_quest.xp": _amount(50, "XP for the daily quest."),
    "claims.token_redemption.cost_per_summon": _whole(1, 1, 10**6, "Tokens that a ticket costs."),
    "claims.token_redemption.tickets": _whole(1, 1, 10**6, "Tickets that are given for them."),
    "claims.multi_summon.allowed_counts": Definition(
        [10],
        "So many tickets can be had at once.",
        "a list of whole numbers from 1 to 10000",
        list_of(whole_number(1, 10_000)),
    ),
    "claims.multi_summon.cost_per_summon": _whole(1, 1, 10**6, "Tokens that a ticket costs, before the discount."),
    "claims.multi_summon.discount": Definition(
        0,
        "The part of the price that is left off; the price is rounded down to whole tokens.",
        '0 to 1, such as "0.1"',
        decimal_number(0, 1),
    ),
    "claims.multi_summon.bonus_tickets": Definition(
        {},
        "Number of summons → tickets on top.",
        'an object such as {"10": 1}',
        table_of(whole_number(0, 10_000)),
    ),
    "claims.drop_execution.charges": _whole(1, 1, 1_000, "Drop charges that a drop takes."),
}

_RANKS: dict[str, Definition] = {
    "badges.currency": _code("points", "a currency", "What the bonus of a badge is paid in."),
    "badges.beta_ends_at": Definition(
        "",
        "Who joined before this instant earns badges by the fact user:joined_in_beta. Empty: nobody does yet.",
        'empty text, or an instant with offset such as "2026-12-31T23:00:00Z"',
        empty_or_instant,
    ),
    "badges.at_once_users": _whole(
        1_000, 0, 100_000, "Events of at most so many users in one call give their badges at once, others hourly."
    ),
    "leaderboard.fresh_seconds": _whole(
        900, 1, 86_400, "Ranks are read from a board's last refresh as long as it is not older; else worked out anew."
    ),
    "monthly.lost_after_seconds": _whole(
        600, 30, 86_400, "A month's job without a heartbeat for this long is taken over by another worker."
    ),
}

_CASES: dict[str, Definition] = {
    "cases.reward_pool": _whole(1_000, 0, 10**9, "Units that a case shares out, put into its escrow when it opens."),
    "cases.currency": _code("points", "a currency", "What cases pay."),
    "cases.funded_by": _code("issuance", "a system account", "Fills the escrow of a case: issuance, treasury."),
    "cases.open_hours": _whole(24, 1, 8_760, "How long a case is open for votes."),
    "cases.payout": Definition(
        "ledger",
        "How new cases pay: ledger (at once) or chain (claimed by the user).",
        "ledger or chain",
        name_out_of("ledger", "chain"),
    ),
    "cases.creator_participants": _whole(100, 1, 10**6, "From so many participants on the creator gets his part."),
    "cases.generate": _switch(True, "Whether the job generate_case writes cases."),
    "chain.confirmations_local": _whole(1, 1, 1_000, "Blocks until a local transaction is confirmed."),
    "chain.confirmations_evm": _whole(12, 1, 1_000, "Blocks until a transaction of an EVM chain counts as confirmed."),
    "chain.not_found_hours": _whole(24, 1, 8_760, "A transaction that no node has found for so long has failed."),
    "chain.checks_per_run": _whole(100, 1, 10_000, "Submitted reward transactions that one run looks after."),
}

PARAMETERS: dict[str, Definition] = {**_ENGINE, **_PENDING, **_CASES, **_RANKS, **_PLAYERS, **_CLAIMS}
