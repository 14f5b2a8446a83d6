"""The rules of `rewards` that are exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from rewards.claims.models import ClaimType, Line
from rewards.claims.recipes import compile_recipe
from rewards.common.amounts import to_minor, to_units
from rewards.exchange.errors import RuleRefused
from rewards.exchange.kinds import Facts, Hand, Kind, plain, register_kind, typed
from rewards.ledger.models import Currency
from rewards.monthly.checks import check_category
from rewards.monthly.models import RankingCategory
from rewards.monthly.services import save_category
from rewards.parameters.models import Parameter
from rewards.parameters.registry import PARAMETERS
from rewards.parameters.services import new_parameter, set_parameter
from rewards.pools.models import Pool, VoteWeight

SWITCHES = frozenset({"payouts_paused"})
"""Parameters that say what is going on, not what the rules are: each installation has its own."""


class Currencies(Kind):
    name, model, key = "currencies", Currency, "code"
    fields = ("name", "symbol", "decimals", "transferable", "active")

    def check(self, row: Currency) -> None:
        super().check(row)
        stored = Currency.objects.filter(pk=row.pk).first()
        if stored is not None and stored.decimals != row.decimals and stored.accounts.exists():
            raise RuleRefused(
                "Code and decimals are fixed once an account exists: stored amounts would change their meaning."
            )


class Parameters(Kind):
    """Those that differ from their defaults. One that the file does not name stays as it is."""

    name, model, key, fields = "parameters", Parameter, "key", ("value",)

    def standing(self) -> dict[str, Parameter]:
        rows = {row.key: row for row in Parameter.objects.filter(key__in=PARAMETERS)}
        return {key: rows.get(key) or new_parameter(key) for key in sorted(PARAMETERS.keys() - SWITCHES)}

    def is_exported(self, row: Parameter) -> bool:
        return row.value != row.default

    def new(self, key: str) -> Parameter:
        if key in SWITCHES:
            raise RuleRefused(f"{key} is a switch, not a rule: each installation has its own.")
        raise RuleRefused(f"There is no parameter {key!r}.")

    def fill(self, row: Parameter, facts: Mapping[str, Any]) -> None:
        row.value = facts.get("value", row.value)

    def check(self, row: Parameter) -> None:
        row.clean()

    def save(self, row: Parameter, hand: Hand) -> None:
        set_parameter(row.key, row.value, actor=hand.actor, reason=hand.reason)


class VoteWeights(Kind):
    name, model, key, fields = "vote_weights", VoteWeight, "vote_type", ("weight",)


class Pools(Kind):
    """The approval limit is in currency units."""

    name, model = "pools", Pool
    fields = ("title", "currency", "share", "rule", "tie_policy", "approval_limit", "active")

    def standing(self) -> dict[str, Pool]:
        return {pool.slug: pool for pool in Pool.objects.select_related("currency").order_by("slug")}

    def facts(self, row: Pool) -> Facts:
        limit = None if row.approval_limit is None else to_units(row.approval_limit, row.currency.decimals)
        return super().facts(row) | {"currency": row.currency.code, "approval_limit": limit}

    def new(self, key: str) -> Pool:
        raise RuleRefused(
            "The two pools, hourly and daily, are created by setup_defaults or setup_pools: run it first."
        )

    def fill(self, row: Pool, facts: Mapping[str, Any]) -> None:
        given = dict(facts)
        if given.pop("currency", row.currency.code) != row.currency.code:
            raise RuleRefused(f"currency: the pool is paid in {row.currency.code}, and stays so.")
        if "approval_limit" in given:
            row.approval_limit = self._minor(given.pop("approval_limit"), row.currency.decimals)
        super().fill(row, given)

    def _minor(self, limit: Any, decimals: int) -> int | None:
        minor = None if limit is None else to_minor(limit, decimals, what="approval limit")
        if minor is not None and minor < 0:
            raise RuleRefused("approval_limit: it is not negative.")
        return minor

    def check(self, row: Pool) -> None:
        """But for the shares: of two that change together neither can be right before the other."""
        row.clean_fields()
        try:
            row.clean()
        except ValidationError as error:
            if set(error.error_dict) != {"share"}:
                raise

    def problems_together(self, rows: Mapping[str, Pool]) -> dict[str, str]:
        problems = {}
        for key, pool in rows.items():
            try:
                pool.clean()
            except ValidationError as error:
                problems[key] = " ".join(error.messages)
        return problems


class ClaimTypes(Kind):
    """With the lines of the recipe, in their order. Lines that the file has not are taken out of the recipe."""

    name, model = "claim_types", ClaimType
    fields = (
        "title", "active", "starts_at", "ends_at", "callers", "scope", "key_pattern", "limit_per_user", "limit_period",
        "funded_by", "context_schema", "sample_context", "lines",
    )  # fmt: skip
    of_line = ("party", "direction", "currency", "amount", "when")
    fixed = ("scope", "key_pattern")

    def standing(self) -> dict[str, ClaimType]:
        return {row.slug: row for row in ClaimType.objects.prefetch_related("lines").order_by("slug")}

    def facts(self, row: ClaimType) -> Facts:
        own = {name: plain(getattr(row, name)) for name in self.fields if name != "lines"}
        return own | {"lines": [{name: getattr(line, name) for name in self.of_line} for line in drafts_of(row)]}

    def fill(self, row: ClaimType, facts: Mapping[str, Any]) -> None:
        given = dict(facts)
        if "lines" in given:
            row.drafts = self._lines(given.pop("lines"))  # type: ignore[attr-defined]
        super().fill(row, given)

    def _lines(self, lines: Any) -> list[Line]:
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise RuleRefused("lines: write a list of objects, one for each thing that is given or taken.")
        drafts = []
        for number, facts in enumerate(lines, start=1):
            if unknown := facts.keys() - set(self.of_line):
                raise RuleRefused(f"line {number}: {', '.join(sorted(unknown))} is nothing that a line has.")
            drafts.append(Line(order=number, **{name: typed(Line, name, value) for name, value in facts.items()}))
        return drafts

    def check(self, row: ClaimType) -> None:
        row.full_clean()
        stored = ClaimType.objects.filter(pk=row.pk).first()
        changed = [name for name in self.fixed if stored is not None and getattr(stored, name) != getattr(row, name)]
        if stored is not None and changed and stored.claims.exists():
            raise RuleRefused(
                f"{' and '.join(changed)}: what claims were made under keeps its meaning. Make another claim type."
            )
        for line in drafts_of(row):
            line.clean_fields(exclude=["claim_type"])
        compile_recipe(row, drafts_of(row))

    def save(self, row: ClaimType, hand: Hand) -> None:
        super().save(row, hand)
        standing = list(row.lines.order_by("order", "id"))
        drafts = drafts_of(row)
        for number, draft in enumerate(drafts):
            line = standing[number] if number < len(standing) else Line(claim_type=row)
            said = [*self.of_line, "order"]
            if line.pk is None or any(getattr(line, name) != getattr(draft, name) for name in said):
                for name in said:
                    setattr(line, name, getattr(draft, name))
                super().save(line, hand)
        for line in standing[len(drafts) :]:
            line._history_user, line._change_reason = hand.actor, hand.reason  # type: ignore[attr-defined]
            line.delete()


def drafts_of(row: ClaimType) -> list[Line]:
    """The lines of a claim type as the file has them; those that stand where it has none."""
    drafts: list[Line] | None = getattr(row, "drafts", None)
    if drafts is None:
        return list(row.lines.all()) if row.pk else []
    return drafts


class RankingCategories(Kind):
    """The group is named; its members are the installation's own."""

    name, model = "ranking_categories", RankingCategory
    fields = (
        "title", "group", "score", "tiers", "tie_policy", "currency", "source", "amount", "approval_limit", "active",
    )  # fmt: skip

    def standing(self) -> dict[str, RankingCategory]:
        return {row.slug: row for row in RankingCategory.objects.select_related("group").order_by("slug")}

    def facts(self, row: RankingCategory) -> Facts:
        return super().facts(row) | {"group": row.group.name if row.group else None}

    def fill(self, row: RankingCategory, facts: Mapping[str, Any]) -> None:
        given = dict(facts)
        if "group" in given:
            row.group = self._group(given.pop("group"))
        super().fill(row, given)

    def _group(self, name: Any) -> Group | None:
        group = None if name is None else Group.objects.filter(name=str(name)).first()
        if name is not None and group is None:
            raise RuleRefused(f"group: there is no group {str(name)[:80]!r}. Create it first, under Groups.")
        return group

    def check(self, row: RankingCategory) -> None:
        row.full_clean()
        check_category(row)

    def save(self, row: RankingCategory, hand: Hand) -> None:
        """Who takes the file has prepared what the category pays, and does not approve it."""
        save_category(row, hand.actor, hand.reason)


def register_kinds() -> None:
    for kind in (Currencies(), Parameters(), VoteWeights(), Pools(), ClaimTypes(), RankingCategories()):
        register_kind(kind)
