"""The claim types that the product ships with: what is claimed in the game, with every number a parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from rewards.claims.models import ClaimType, Line
from rewards.parameters.registry import METALS

STATS = ("energy", "stamina", "hp")

Schema = dict[str, Any]

_USERNAME: Schema = {"type": "string", "minLength": 1, "maxLength": 150}
_ID: Schema = {
    "type": ["string", "integer"],
    "minLength": 1,
    "maxLength": 80,
    "description": "The product's own id; the same for a repeated request.",
}
_KIND: Schema = {"type": "string", "enum": list(METALS)}


@dataclass(frozen=True)
class Shipped:
    """`required` and `optional` are properties of the context; `lines` are rows of `_gives` and `_takes`."""

    title: str
    required: dict[str, Schema]
    sample: dict[str, Any]
    lines: list[dict[str, str]]
    optional: dict[str, Schema] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    def context_schema(self) -> Schema:
        return {"type": "object", "properties": {**self.required, **self.optional}, "required": list(self.required)}


def create_default_claim_types() -> list[str]:
    """Create the claim types that are missing; those that exist stay as they are. Returns the slugs of the created."""
    created = []
    with transaction.atomic():
        for slug, shipped in CLAIM_TYPES.items():
            if not ClaimType.objects.filter(slug=slug).exists():
                _create(slug, shipped)
                created.append(slug)
    return created


def _create(slug: str, shipped: Shipped) -> None:
    claim_type = ClaimType(
        slug=slug,
        title=shipped.title,
        context_schema=shipped.context_schema(),
        sample_context=shipped.sample,
        **shipped.fields,
    )
    lines = [Line(claim_type=claim_type, order=order, **values) for order, values in enumerate(shipped.lines, start=1)]
    for row in (claim_type, *lines):
        row._change_reason = "default"  # type: ignore[attr-defined]  # for its history
        row.save()


def _gives(currency: str, amount: str, *, party: str = "", when: str = "") -> dict[str, str]:
    return {"direction": Line.Direction.CREDIT, "currency": currency, "amount": amount, "party": party, "when": when}


def _takes(currency: str, amount: str) -> dict[str, str]:
    return {"direction": Line.Direction.DEBIT, "currency": currency, "amount": amount}


# ----------------------------------------------------------------------------------------------------------- victories


def _of_floor(what: str) -> str:
    of = f"claims.ascension_victory.{what}"
    return f'floor(param("{of}_base") * floor ** param("{of}_exponent"))'


def _of_matron(what: str) -> str:
    of = "claims.matron_victory"
    grown = f'param("{of}.{what}_base") * (1 + param("{of}.sector_growth") * (sector - 1))'
    return f'floor({grown}) * (param("{of}.boss_factor") if boss else 1)'


def _milestone(metal: str) -> dict[str, str]:
    table = 'param("claims.ascension_victory.milestone_tokens")'
    return _gives(f"token_{metal}", f'lookup({table}, floor, "{metal}", default=0)')


_ASCENSION = Shipped(
    title="Ascension victory",
    fields={"key_pattern": "floor_<floor>_<encounter_id>"},
    required={"floor": {"type": "integer", "minimum": 1}, "encounter_id": _ID},
    sample={"floor": 50, "encounter_id": "e1"},
    lines=[
        _gives("lumees", _of_floor("lumees")),
        _gives("xp", _of_floor("xp")),
        _gives(
            '"token_" + lookup(param("claims.ascension_victory.token_kinds"), floor)',
            'param("claims.ascension_victory.tokens")',
            when='floor % param("claims.ascension_victory.token_every_floors") == 0',
        ),
        *(_milestone(metal) for metal in METALS),
    ],
)

_PVP = Shipped(
    title="PvP victory",
    fields={"key_pattern": "<encounter_id>", "scope": ClaimType.Scope.GLOBAL},
    required={"winner": _USERNAME, "loser": _USERNAME, "encounter_id": _ID},
    sample={"winner": "alice", "loser": "bob", "encounter_id": "e1"},
    lines=[
        # Nobody wins against himself, and takes both shares.
        _gives(currency, f'param("claims.pvp_victory.{party}_{currency}")', party=party, when="winner != loser")
        for party in ("winner", "loser")
        for currency in ("lumees", "xp")
    ],
)

_PVE = Shipped(
    title="PvE victory",
    fields={"key_pattern": "<enemy_id>_<encounter_id>"},
    required={"enemy_id": _ID, "encounter_id": _ID},
    sample={"enemy_id": "goblin", "encounter_id": "e1"},
    lines=[
        _gives("lumees", 'param("combat.rewards.base_lumees")'),
        _gives("xp", 'param("claims.pve_victory.xp")'),
    ],
)

_MATRON = Shipped(
    title="Matron victory",
    fields={"key_pattern": "<encounter_id>"},
    required={"sector": {"type": "integer", "minimum": 1}, "encounter_id": _ID},
    optional={"boss": {"type": "boolean", "default": False}},
    sample={"sector": 3, "boss": True, "encounter_id": "e1"},
    lines=[
        _gives("lumees", _of_matron("lumees")),
        _gives("xp", _of_matron("xp")),
        _gives("drop_charges", 'param("claims.matron_victory.drop_charges")'),
        _gives("fusion_catalysts", 'param("claims.matron_victory.fusion_catalysts")'),
    ],
)

# ------------------------------------------------------------------------------------------ what users claim themselves

_BY_USER = {"callers": ClaimType.Callers.USER}

_DAILY_QUEST = Shipped(
    title="Daily quest",
    fields={
        **_BY_USER,
        "key_pattern": "<today>",
        "limit_per_user": 1,
        "limit_period": ClaimType.LimitPeriod.DAY,
    },
    required={},
    sample={},
    lines=[
        _gives("lumees", 'param("claims.daily_quest.lumees")'),
        _gives("xp", 'param("claims.daily_quest.xp")'),
    ],
)

_TOKEN_REDEMPTION = Shipped(
    title="Token redemption",
    fields=_BY_USER,
    required={"kind": _KIND},
    sample={"kind": "bronze"},
    lines=[
        _takes('"token_" + kind', 'param("claims.token_redemption.cost_per_summon")'),
        _gives('"ticket_" + kind', 'param("claims.token_redemption.tickets")'),
    ],
)

_MULTI_SUMMON = Shipped(
    title="Multi-summon",
    fields=_BY_USER,
    required={"kind": _KIND, "count": {"type": "integer", "minimum": 1}},
    sample={"kind": "bronze", "count": 10},
    lines=[
        _takes(
            '"token_" + kind',
            'floor(lookup(param("claims.multi_summon.allowed_counts"), count)'
            ' * param("claims.multi_summon.cost_per_summon") * (1 - param("claims.multi_summon.discount")))',
        ),
        _gives('"ticket_" + kind', "count"),
        _gives('"ticket_" + kind', 'lookup(param("claims.multi_summon.bonus_tickets"), count, default=0)'),
    ],
)

_DROP_EXECUTION = Shipped(
    title="Drop",
    fields=_BY_USER,
    required={},
    optional={"player_class": {"type": "string", "maxLength": 60, "default": ""}},
    sample={"player_class": "alchemist"},
    lines=[
        _takes("drop_charges", 'param("claims.drop_execution.charges")'),
        _gives(
            "auric_coins",
            'floor(param("drop_system.auric_coin_per_drop")'
            ' * lookup(param("drop_system.class_bonus"), player_class, default=1))',
        ),
    ],
)

_STAT_POINTS = Shipped(
    title="Stat points",
    fields=_BY_USER,
    required={"stat": {"type": "string", "enum": list(STATS)}, "points": {"type": "integer", "minimum": 1}},
    sample={"stat": "energy", "points": 1},
    lines=[_takes("stat_points", "points"), _gives('stat + "_points"', "points")],
)

CLAIM_TYPES: dict[str, Shipped] = {
    "ascension_victory": _ASCENSION,
    "pvp_victory": _PVP,
    "pve_victory": _PVE,
    "matron_victory": _MATRON,
    "daily_quest": _DAILY_QUEST,
    "token_redemption": _TOKEN_REDEMPTION,
    "multi_summon": _MULTI_SUMMON,
    "drop_execution": _DROP_EXECUTION,
    "stat_points": _STAT_POINTS,
}
