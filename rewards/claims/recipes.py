"""Recipes: a claim type and its lines, checked and compiled, and worked out for the context of a claim."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import Any

from rewards.claims.contexts import ContextSchema, plain_context
from rewards.claims.errors import ContextRefused, InvalidRecipe, RecipeFailed, UnknownClaimType
from rewards.claims.expressions import Expression, ExpressionError, Value, compile_expression
from rewards.claims.keys import key_for, names_in
from rewards.claims.models import ClaimType, Line
from rewards.common.amounts import MAX_MINOR
from rewards.common.errors import RewardsError
from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import ISSUANCE, TREASURY, Currency
from rewards.parameters.errors import UnknownParameter
from rewards.parameters.services import derived_cache, param
from rewards.users.models import User

_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,60}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CURRENCY_CODE = re.compile(r"[a-z][a-z0-9_]*")
_WIDE = Context(prec=80)


@dataclass(frozen=True)
class Entry:
    """One line, worked out. `amount` is above zero, in currency units, not yet rounded to the minor unit."""

    party: str | None  # the username that the context names; None: the claimant
    direction: str
    currency: str
    amount: Decimal


@dataclass(frozen=True)
class _CompiledLine:
    number: int  # from 1
    party: str
    direction: str
    code: str  # of the currency, where it is not an expression
    currency: Expression | None
    amount: Expression
    when: Expression | None

    def expressions(self) -> Mapping[str, Expression]:
        """By the field they stand in."""
        named = {"currency": self.currency, "amount": self.amount, "when": self.when}
        return {field: expression for field, expression in named.items() if expression}


@dataclass(frozen=True, eq=False)
class Recipe:
    """A claim type and its lines with the parameters of one moment; never changes."""

    claim_type: ClaimType
    lines: tuple[Line, ...]
    key_names: tuple[str, ...]
    schema: ContextSchema
    parameters: Mapping[str, Any]
    _compiled: tuple[_CompiledLine, ...]

    def derive_key(self, context: Mapping[str, Any], given: str | None, today: date) -> str:
        """The key of the claim: what the pattern gives for the context, else the `given` one.

        `today` is the date in the product's zone. Raises `ContextRefused` where the context is no plain JSON object or
        lacks a part of the key, `KeyMissing`, `KeyMismatch`, `InvalidKey`.
        """
        plain = self.schema.with_defaults(plain_context(context))
        missing = [name for name in self.key_names if name not in plain]
        if missing:
            raise self._refusal(dict.fromkeys(missing, "This is missing."))
        return key_for(self.claim_type.key_pattern, plain, given, today)

    def check_context(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """The context with the defaults of the schema where it says nothing. Raises `ContextRefused`."""
        filled = self.schema.with_defaults(plain_context(context))
        problems = self.schema.problems(filled)
        if problems:
            raise self._refusal(problems)
        return filled

    def evaluate(self, context: Mapping[str, Any]) -> list[Entry]:
        """The lines in their order, without those whose condition does not hold and those that come to zero.

        `context` is one that `check_context` returned. Raises `RecipeFailed`.
        """
        entries = (self._entry(line, context) for line in self._compiled)
        return [entry for entry in entries if entry]

    def _entry(self, line: _CompiledLine, context: Mapping[str, Any]) -> Entry | None:
        if line.when and not self._value(line, "when", line.when, bool, "yes or no", context):
            return None
        amount = self._value(line, "amount", line.amount, Decimal, "a number", context)
        if amount < 0:
            raise self._failure(line, "amount", f"comes to {amount:f}, below zero.")
        if not amount:
            return None
        code = line.code
        if line.currency:
            code = self._value(line, "currency", line.currency, str, "the code of a currency", context)
        return Entry(self._party(line, context), line.direction, code, amount)

    def _value(
        self, line: _CompiledLine, field: str, expression: Expression, kind: type, kind_name: str, context: Mapping
    ) -> Any:
        try:
            value: Value = expression.evaluate(context, self.parameters.__getitem__)
        except ExpressionError as error:
            raise self._failure(line, field, str(error)) from error
        if type(value) is not kind:
            raise self._failure(line, field, f"gives {value!r}, not {kind_name}.")
        return value

    def _party(self, line: _CompiledLine, context: Mapping[str, Any]) -> str | None:
        if not line.party:
            return None
        username = context.get(line.party)
        if not isinstance(username, str) or not username:
            raise self._failure(line, "party", f"{line.party} must be the username of a user.")
        return username

    def _failure(self, line: _CompiledLine, field: str, sentence: str) -> RecipeFailed:
        place = f"line {line.number}.{field}"
        return RecipeFailed(f"{self.claim_type.slug}, {place}: {sentence}", errors={place: sentence})

    def _refusal(self, problems: dict[str, str]) -> ContextRefused:
        place, sentence = next(iter(problems.items()))
        return ContextRefused(f"The context of {self.claim_type.slug}: {place}: {sentence}", errors=problems)


def recipe_of(slug: str) -> Recipe:
    """The recipe of a claim type, as it stands.

    Kept per process: a change to the claim type, its lines or any parameter is seen within a second, and at once in
    the transaction that made it. Raises `UnknownClaimType`, and `InvalidRecipe` for one that was never checked.
    """
    cache = derived_cache()
    if ("recipe", slug) not in cache:
        cache["recipe", slug] = _read_recipe(slug)
    return cache["recipe", slug]


def _read_recipe(slug: str) -> Recipe:
    usable = isinstance(slug, str) and _SLUG.fullmatch(slug)
    claim_type = ClaimType.objects.filter(slug=slug).first() if usable else None
    if claim_type is None:
        raise UnknownClaimType(f"There is no claim type {str(slug)[:60]!r}.")
    return _compile(claim_type, list(claim_type.lines.all()))


def compile_recipe(claim_type: ClaimType, lines: Sequence[Line]) -> Recipe:
    """Check a recipe, saved or not, as it may be saved. `lines` are in their order.

    Raises `InvalidRecipe` whose `errors` say what is wrong where: {"key_pattern": sentence, "line 2.amount": sentence}.
    """
    recipe = _compile(claim_type, lines)
    problems = {**_problems_of_funding(claim_type), **_problems_of_sample(recipe)}
    if problems:
        raise _invalid(claim_type, problems)
    return recipe


def preview(recipe: Recipe, context: Mapping[str, Any]) -> list[tuple[Entry, int, Currency]]:
    """What a claim with this context would give and take: each line with its minor units and currency.

    Writes nothing. Raises what a claim would: `ContextRefused`, `RecipeFailed`, `UnknownCurrency`.
    """
    entries = recipe.evaluate(recipe.check_context(context))
    currencies = {
        currency.code: currency for currency in Currency.objects.filter(code__in={e.currency for e in entries})
    }
    shown = []
    for entry in entries:
        if entry.currency not in currencies:
            raise UnknownCurrency(f"There is no currency {entry.currency!r}.", currency=entry.currency)
        minor = rounded(entry, currencies[entry.currency])
        if minor:
            shown.append((entry, minor, currencies[entry.currency]))
    return shown


def rounded(entry: Entry, currency: Currency) -> int:
    """Whole minor units, rounded down. Raises `RecipeFailed` where they do not fit 64 bits."""
    minor = int(entry.amount.scaleb(currency.decimals, _WIDE))
    if minor > MAX_MINOR:
        raise RecipeFailed(f"An amount of {entry.amount:.0f} {currency} is too large: it must fit 64 bits.")
    return minor


# ------------------------------------------------------------------------------------------------------------ compiling


def _invalid(claim_type: ClaimType, problems: dict[str, str]) -> InvalidRecipe:
    sentences = "; ".join(f"{place}: {sentence}" for place, sentence in problems.items())
    return InvalidRecipe(f"The recipe {claim_type.slug} cannot be used. {sentences}", errors=problems)


def _compile(claim_type: ClaimType, lines: Sequence[Line]) -> Recipe:
    problems = _problems_of_type(claim_type, lines)
    schema, key_names = ContextSchema({}), []
    try:
        schema = ContextSchema(claim_type.context_schema)
    except ValueError as error:
        problems["context_schema"] = str(error)
    try:
        key_names = names_in(claim_type.key_pattern)
    except ValueError as error:
        problems["key_pattern"] = str(error)
    compiled = [_compile_line(number, line, problems) for number, line in enumerate(lines, start=1)]
    usable = [line for line in compiled if line]
    problems |= _problems_of_names(key_names, usable, schema)
    parameters = _read_parameters(usable, problems)
    if problems:
        raise _invalid(claim_type, problems)
    return Recipe(claim_type, tuple(lines), tuple(key_names), schema, parameters, tuple(usable))


def _problems_of_type(claim_type: ClaimType, lines: Sequence[Line]) -> dict[str, str]:
    problems = {}
    if not _SLUG.fullmatch(claim_type.slug):
        problems["slug"] = "A slug is 1 to 60 letters, digits, hyphens and underscores."
    if claim_type.starts_at and claim_type.ends_at and claim_type.starts_at >= claim_type.ends_at:
        problems["ends_at"] = "It must end after it starts."
    if claim_type.limit_per_user is not None and claim_type.limit_per_user < 1:
        problems["limit_per_user"] = "A limit is 1 or more; empty: no limit."
    if claim_type.limit_period and claim_type.limit_per_user is None:
        problems["limit_per_user"] = "Say how often in this period, or leave the period empty."
    if not lines:
        problems["lines"] = "A recipe has at least one line."
    if claim_type.callers == ClaimType.Callers.USER:
        problems |= _problems_of_self_service(claim_type, lines)
    return problems


def _problems_of_self_service(claim_type: ClaimType, lines: Sequence[Line]) -> dict[str, str]:
    """What a user may claim himself is only what spends his own, or is limited."""
    takes = [line for line in lines if line.direction == Line.Direction.DEBIT]
    if lines and not takes and claim_type.limit_per_user is None:
        return {"limit_per_user": "Users may claim this themselves and it costs them nothing: it needs a limit."}
    return {
        f"line {number}.party": "Users may claim this themselves: it takes from who claims, and from nobody else."
        for number, line in enumerate(lines, start=1)
        if line in takes and line.party
    }


def _compile_line(number: int, line: Line, problems: dict[str, str]) -> _CompiledLine | None:
    """None where a part of the line is not usable; `problems` then says which."""
    is_code = _CURRENCY_CODE.fullmatch(line.currency)
    sources = {"currency": "" if is_code else line.currency, "amount": line.amount, "when": line.when}
    expressions: dict[str, Expression] = {}
    found: dict[str, str] = {}
    if line.direction not in Line.Direction.values:
        found["direction"] = "A line gives (credit) or takes (debit)."
    if line.party and not _NAME.fullmatch(line.party):
        found["party"] = "A name of the context, such as winner; empty: who claims."
    for field, source in sources.items():
        if source or field == "amount" or (field == "currency" and not is_code):
            try:
                expressions[field] = compile_expression(source)
            except ExpressionError as error:
                found[field] = str(error)
    problems.update({f"line {number}.{field}": sentence for field, sentence in found.items()})
    if found:
        return None
    return _CompiledLine(
        number=number,
        party=line.party,
        direction=line.direction,
        code=line.currency if is_code else "",
        currency=expressions.get("currency"),
        amount=expressions["amount"],
        when=expressions.get("when"),
    )


def _problems_of_names(
    key_names: Sequence[str], lines: Sequence[_CompiledLine], schema: ContextSchema
) -> dict[str, str]:
    """Where the schema lists what the context has, nothing else is asked of it."""
    if schema.names is None:
        return {}
    wanted = {"key_pattern": frozenset(key_names)}
    for line in lines:
        wanted[f"line {line.number}.party"] = frozenset([line.party] if line.party else [])
        for field, expression in line.expressions().items():
            wanted[f"line {line.number}.{field}"] = expression.names
    unknown = {place: sorted(names - schema.names) for place, names in wanted.items()}
    return {place: f"The schema has no {', '.join(names)}." for place, names in unknown.items() if names}


def _read_parameters(lines: Sequence[_CompiledLine], problems: dict[str, str]) -> dict[str, Any]:
    """Key → value of the parameters that the lines read."""
    values: dict[str, Any] = {}
    for line in lines:
        for field, expression in line.expressions().items():
            for key in expression.parameters - values.keys():
                try:
                    values[key] = param(key)
                except UnknownParameter as error:
                    problems[f"line {line.number}.{field}"] = error.message
    return values


def _problems_of_funding(claim_type: ClaimType) -> dict[str, str]:
    code = claim_type.funded_by
    if not code.strip() or not code.isprintable():
        return {"funded_by": "Name a system account, such as issuance or treasury."}
    if code not in (ISSUANCE, TREASURY) and User.objects.filter(username=code).exists():
        return {"funded_by": f"{code} is a user. Name a system account, such as issuance or treasury."}
    return {}


def _problems_of_sample(recipe: Recipe) -> dict[str, str]:
    sample = recipe.claim_type.sample_context
    if not sample:
        return {}
    try:
        if recipe.claim_type.key_pattern:
            recipe.derive_key(sample, None, date(2026, 1, 1))
        preview(recipe, sample)
    except RecipeFailed as error:
        return dict(error.facts.get("errors") or {"sample_context": error.message})
    except RewardsError as error:
        return {"sample_context": error.message}
    return {}
