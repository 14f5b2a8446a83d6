"""Reads over distributions: receipts, proofs, verification, the state of periods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from rewards.allocation.figures import curve_places
from rewards.allocation.merkle import proof_from_subtrees, root_from_subtrees, root_of
from rewards.allocation.ranks import competition_ranks
from rewards.allocation.rules import allocate, exact_text
from rewards.common.amounts import to_units
from rewards.distributions import rows
from rewards.distributions.errors import NoSuchRow
from rewards.distributions.models import CHAIN, Distribution, DistributionChunk, Reward
from rewards.distributions.programmes import programmes_without_periods, registered_programmes
from rewards.ledger.models import Currency, Transfer
from rewards.parameters.services import param
from rewards.users.models import User

Status = Distribution.Status


# ------------------------------------------------------------------------------------------------------ a row explained


def reward_of(distribution: Distribution, user: User) -> Reward | None:
    """The user's row, if he has one."""
    # In the order of the unique index: in that of ids PostgreSQL may walk through all of them to find the one.
    return Reward.objects.filter(distribution=distribution, user=user).order_by("user_id").first()


def chunk_of(reward: Reward) -> DistributionChunk | None:
    """The chunk that pays this row, with its journal."""
    return (
        DistributionChunk.objects.filter(
            distribution_id=reward.distribution_id,
            first_position__lte=reward.position,
            last_position__gte=reward.position,
        )
        .select_related("journal")
        .first()
    )


def transfer_of(reward: Reward) -> Transfer | None:
    """The transfer that paid this row; None while it is unpaid, or when there is nothing to pay.

    With a payout on the chain it is the one that made it claimable.
    """
    chunk = chunk_of(reward)
    if chunk is None or chunk.journal_id is None or reward.amount == 0:
        return None
    return Transfer.objects.get(
        journal_id=chunk.journal_id,
        credit_account__user_id=reward.user_id,
        credit_account__code=reward.distribution.paid_into,
        reverses=None,
    )


def credit_of(reward: Reward) -> Transfer | None:
    """The transfer that brought this row into its owner's own account; None before, and when there is nothing to pay.

    With a payout on the chain it is the one of its completed claim.
    """
    if reward.distribution.payout != CHAIN:
        return transfer_of(reward)
    return Transfer.objects.filter(journal__in=completed_claims(Reward.objects.filter(pk=reward.pk))).first()


def completed_claims(rewards: QuerySet[Reward]) -> QuerySet[Any, Any]:
    """The ids of the journals by which claims of these rewards were completed on the chain."""
    return rewards.filter(chain_claim__journal__isnull=False).values_list("chain_claim__journal_id", flat=True)


def status_of(reward: Reward) -> str:
    """What a client sees: `none`, `allocated`, `paid`, `failed` or `reversed`, by the chunk's journal; with a payout on
    the chain also `claimable` and `processing`, and it is `paid` once its claim is completed.
    """
    return statuses_of(reward.distribution, [reward])[0]


def statuses_of(distribution: Distribution, rewards: Sequence[Reward]) -> list[str]:
    """The status of each of these rows of one distribution, as `status_of` has it; a few queries for all of them."""
    positions = [reward.position for reward in rewards if reward.amount]
    if not positions:
        return [Reward.Status.NONE.value] * len(rewards)
    paid = distribution.chunks.filter(
        first_position__lte=max(positions), last_position__gte=min(positions), journal__isnull=False
    ).values_list("first_position", "last_position", "journal_id")
    chunks = list(paid)
    taken_back = set(
        Transfer.objects.filter(
            journal__in=[journal_id for _, _, journal_id in chunks],
            credit_account__user__in=[reward.user_id for reward in rewards],
            credit_account__code=distribution.paid_into,
            reversals__isnull=False,
        ).values_list("credit_account__user_id", flat=True)
    )
    claims: dict[int, str] = {}
    if distribution.payout == CHAIN:
        of_these = Reward.objects.filter(pk__in=[reward.pk for reward in rewards])
        claims = dict(of_these.values_list("pk", "chain_claim__status"))
    unpaid = Reward.Status.FAILED if distribution.status == Status.FAILED else Reward.Status.ALLOCATED

    def status(reward: Reward) -> Reward.Status:
        if reward.amount == 0:
            return Reward.Status.NONE
        if not any(first <= reward.position <= last for first, last, _ in chunks):
            return unpaid
        if reward.user_id in taken_back:
            return Reward.Status.REVERSED
        return _paid_as(distribution, claims.get(reward.pk))

    return [status(reward).value for reward in rewards]


_CLAIMED_AS = {
    None: Reward.Status.CLAIMABLE,
    "processing": Reward.Status.PROCESSING,
    "completed": Reward.Status.PAID,
    "failed": Reward.Status.FAILED,
}


def _paid_as(distribution: Distribution, claim: str | None) -> Reward.Status:
    """The status of a reward whose chunk is paid; with a payout on the chain by that of its claim (None: unclaimed)."""
    return _CLAIMED_AS[claim] if distribution.payout == CHAIN else Reward.Status.PAID


def taken_back_from(distribution: Distribution) -> set[str]:
    """Usernames of those whose reward of it was paid and taken back."""
    reversed_transfers = Transfer.objects.filter(
        journal__chunk__distribution=distribution,
        credit_account__code=distribution.paid_into,
        reversals__isnull=False,
    )
    return set(reversed_transfers.values_list("credit_account__user__username", flat=True))


def receipt(reward: Reward) -> dict[str, Any]:
    """Why this amount, in words and numbers. Amounts are decimal text in currency units."""
    distribution = reward.distribution
    currency, paid = distribution.currency, credit_of(reward)
    slices = {part["name"]: part for part in distribution.results.get("slices", [])}
    return {
        "reward_id": reward.pk,
        "programme": distribution.programme,
        "period_key": distribution.period_key,
        "rule": distribution.rule,
        "rule_version": distribution.rule_version,
        "tie_policy": distribution.tie_policy,
        "rounding_unit": currency.to_units(1),
        "position": reward.position,
        "rank": reward.rank,
        "participants": distribution.participants,
        "score": reward.score,
        "inputs": reward.inputs or {},
        "facts": distribution.results.get("facts", {}),
        "currency": currency.code,
        "amount": currency.to_units(reward.amount),
        "slices": [_slice_line(reward, name, minor, slices) for name, minor in reward.breakdown.items()],
        "status": status_of(reward),
        "transfer": paid.pk if paid else None,
        "paid_at": paid.created_at.isoformat() if paid else None,
        "words": _in_words(reward, slices),
    }


def _slice_line(reward: Reward, name: str, minor: int, slices: dict[str, Any]) -> dict[str, Any]:
    """What a slice gave: `raw_share` is the exact share before rounding, caps and minimum, as decimal or fraction."""
    decimals, part = reward.distribution.currency.decimals, slices.get(name, {})
    weight, total = _weight_in(reward, name, part)
    raw = Fraction(part.get("amount", 0), 10**decimals) * weight / total if total else None
    return {
        "name": name,
        "amount": to_units(minor, decimals),
        "slice_amount": to_units(part.get("amount", 0), decimals),
        "members": part.get("members", 0),
        "weight": exact_text(weight) if total else None,
        "weights": exact_text(total) if total else None,
        "raw_share": None if raw is None else exact_text(raw),
    }


def _weight_in(reward: Reward, name: str, part: dict[str, Any]) -> tuple[Fraction, Fraction]:
    """The row's weight in a slice and what all weights there add up to; 1 each where all are equal, else 0 of 0."""
    rule, facts = _rule_of_slice(reward.distribution.rule, name), reward.distribution.results.get("facts", {})
    if rule.get("rule") == "equal":
        return Fraction(1), Fraction(part.get("members", 0))
    if rule.get("rule") != "proportional" or f"{name}.weights" not in facts:
        return Fraction(0), Fraction(0)
    by = rule.get("by")
    weight = Fraction(reward.inputs["measures"][by] if by and reward.inputs else reward.score)
    cap = facts.get(f"{name}.weight_cap", facts.get("weight_cap")) if "weight_cap" in rule else None
    return min(weight, Fraction(cap)) if cap else weight, Fraction(facts[f"{name}.weights"])


def _rule_of_slice(rule: dict[str, Any], name: str) -> dict[str, Any]:
    """The rule by which a slice of that name is shared; a rule without slices is its own one slice."""
    for part in rule.get("slices", []):
        if part["name"] == name and "slices" not in part["rule"]:
            return part["rule"]  # type: ignore[no-any-return]
        if found := _rule_of_slice(part["rule"], name):
            return found
    return rule if rule.get("rule") == name else {}


def _in_words(reward: Reward, slices: dict[str, Any]) -> str:
    distribution, units = reward.distribution, reward.distribution.currency.to_units
    code = distribution.currency.code
    lines = [
        f"Place {reward.position} of {distribution.participants} with a score of {reward.score}; "
        f"{distribution.programme} shared out {units(distribution.amount)} {code} for {distribution.period_key}."
    ]
    for name, minor in reward.breakdown.items():
        part = slices.get(name, {})
        lines.append(
            f"{name}: {units(minor)} of {units(part.get('amount', 0))} {code}, "
            f"shared among {part.get('members', 0)} of the participants{_share_in_words(reward, name, slices)}."
        )
    if not reward.breakdown:
        lines.append("No slice of the rule reached this place: nothing to pay.")
    lines.append(f"Rounded to whole units of {units(1)} {code} by largest remainder; ties: {distribution.tie_policy}.")
    return " ".join(lines)


def _share_in_words(reward: Reward, name: str, slices: dict[str, Any]) -> str:
    line = _slice_line(reward, name, 0, slices)
    if line["raw_share"] is None:
        return ""
    share = f"; the exact share was {line['raw_share']}"
    if line["weight"] == "1" and line["weights"] == str(line["members"]):
        return share
    return f" by weight, {line['weight']} of {line['weights']}{share}"


def proof(distribution: Distribution, user: User) -> dict[str, Any]:
    """Proof that the user's row is part of the digest: `{root, tree_size, leaf_index, leaf, path}`, hashes as hex.

    Raises `NoSuchRow`.
    """
    reward = reward_of(distribution, user)
    chunk = chunk_of(reward) if reward else None
    if reward is None or chunk is None:
        raise NoSuchRow(f"{user} has no row in {distribution}.")
    leaves = list(rows.chunk_leaves(distribution, chunk.first_position, chunk.last_position))
    roots = distribution.chunks.order_by("number").values_list("root", flat=True)
    first_leaf = 0 if chunk.number == 0 else chunk.first_position
    path = proof_from_subtrees(
        leaves, reward.position - first_leaf, [bytes.fromhex(root) for root in roots], chunk.number
    )
    units = distribution.currency.to_units
    return {
        "root": distribution.digest,
        "tree_size": distribution.participants + 1,
        "leaf_index": reward.position,
        "leaf": {
            "position": reward.position,
            "user": user.get_username(),
            "score": reward.score,
            "amount": units(reward.amount),
            "breakdown": {name: units(minor) for name, minor in reward.breakdown.items()},
            "salt": reward.salt,
        },
        "path": [node.hex() for node in path],
    }


def exported_header(distribution: Distribution) -> dict[str, Any]:
    """What leaf 0 says, as JSON."""
    header: dict[str, Any] = json.loads(rows.header_of(distribution))
    return header


def exported(distribution: Distribution) -> Iterator[dict[str, Any]]:
    """Every row as its leaf shows it, in position order. With header and digest anyone can check it offline."""
    units = distribution.currency.to_units
    stored = Reward.objects.filter(distribution=distribution).order_by("position").select_related("user")
    for reward in stored.iterator(chunk_size=5_000):
        yield {
            "position": reward.position,
            "user": reward.user.get_username(),
            "score": reward.score,
            "amount": units(reward.amount),
            "breakdown": {name: units(minor) for name, minor in reward.breakdown.items()},
            "salt": reward.salt,
        }


def reward_lines(distribution: Distribution) -> Iterator[tuple[Any, ...]]:
    """(period key, user, position, rank, score, amount in currency units, status) of each row, by position."""
    units = distribution.currency.to_units
    for chunk in distribution.chunks.select_related("journal").order_by("number"):
        reversed_transfers = Transfer.objects.filter(journal=chunk.journal, reversals__isnull=False)
        reversed_users = set(reversed_transfers.values_list("credit_account__user_id", flat=True))
        unpaid = Reward.Status.FAILED if distribution.status == Status.FAILED else Reward.Status.ALLOCATED
        rewards = Reward.objects.filter(
            distribution=distribution, position__range=(chunk.first_position, chunk.last_position)
        ).order_by("position")
        columns = rewards.values_list(
            "user_id", "user__username", "position", "rank", "score", "amount", "chain_claim__status"
        )
        for user_id, username, position, rank, score, amount, claim in columns.iterator(chunk_size=5_000):
            status = _paid_as(distribution, claim) if chunk.journal_id else unpaid
            if user_id in reversed_users:
                status = Reward.Status.REVERSED
            if amount == 0:
                status = Reward.Status.NONE
            yield (distribution.period_key, username, position, rank, score, units(amount), status.value)


# ---------------------------------------------------------------------------------------------------- a distribution


@dataclass(frozen=True)
class Difference:
    """Something a distribution says that recomputing it does not."""

    distribution: Distribution
    what: str

    def __str__(self) -> str:
        return f"{self.distribution}: {self.what}"


def verify(distribution: Distribution) -> list[Difference]:
    """Recompute every row from the frozen snapshot and the stored rule, the digest, and compare to the ledger."""
    if distribution.allocated_at is None:
        return []
    return [Difference(distribution, what) for what in (*_wrong_rows(distribution), *_wrong_digest(distribution),
                                                        *_wrong_payments(distribution))]  # fmt: skip


def _wrong_rows(distribution: Distribution) -> Iterator[str]:
    snapshot = rows.stored_snapshot(distribution)
    if len(snapshot) != distribution.participants:
        yield f"{len(snapshot)} rows instead of {distribution.participants}"
        return
    if distribution.participants == 0:
        if distribution.carried_over != distribution.amount:
            yield f"nobody took part, but only {distribution.carried_over} of {distribution.amount} is carried over"
        return
    again = allocate(
        distribution.rule,
        distribution.amount,
        rows.participants_of(snapshot),
        decimals=distribution.currency.decimals,
        tie_policy=distribution.tie_policy,
    )
    stored = (
        Reward.objects.filter(distribution=distribution)
        .order_by("position")
        .values_list("position", "rank", "amount", "breakdown")
    )
    ranks = competition_ranks(snapshot.scores.values).tolist()
    expected = zip(ranks, again.amounts.tolist(), again.breakdowns(), strict=True)
    for (position, rank, *found), (place, *recomputed) in zip(stored.iterator(), expected, strict=True):
        if rank != place:
            yield f"row {position} says rank {rank}, recomputed {place}"
        if found != recomputed:
            yield "row {} says {} {}, recomputed {} {}".format(position, *found, *recomputed)
    if distribution.status != Status.CANCELLED and again.unpaid != distribution.carried_over:
        yield f"carries over {distribution.carried_over}, recomputed {again.unpaid}"


def _wrong_digest(distribution: Distribution) -> Iterator[str]:
    roots = []
    for chunk in distribution.chunks.order_by("number"):
        root = root_of(rows.chunk_leaves(distribution, chunk.first_position, chunk.last_position))
        roots.append(root)
        if root.hex() != chunk.root:
            yield f"rows {chunk.first_position} to {chunk.last_position} do not hash to their chunk's root"
    digest = root_from_subtrees(roots) if roots else root_of([rows.leaf_hash(rows.header_of(distribution))])
    if digest.hex() != distribution.digest:
        yield f"digest is {distribution.digest}, recomputed {digest.hex()}"


def _wrong_payments(distribution: Distribution) -> Iterator[str]:
    from rewards.distributions.checks import unmatched_chunks

    for number, recipients, matched, transfers in unmatched_chunks(distribution.pk):
        yield f"chunk {number} has {recipients} rewards and {transfers} transfers, {matched} of them match"
    paid = sum(distribution.chunks.filter(journal__isnull=False).values_list("amount", flat=True))
    if paid != distribution.paid_amount:
        yield f"says it paid {distribution.paid_amount}, its chunks paid {paid}"


def tier_breakdown(distribution: Distribution) -> list[dict[str, Any]]:
    """Per slice: name, what it was given, what it paid and how many members, amounts as text in currency units."""
    units = distribution.currency.to_units
    return [
        {**part, "amount": units(part["amount"]), "paid": units(part["paid"])}
        for part in distribution.results.get("slices", [])
    ]


def payout_curve(distribution: Distribution) -> list[tuple[int, int]]:
    """(position, amount in minor units) at some sixty places, denser at the top."""
    wanted = curve_places(distribution.participants)
    found = Reward.objects.filter(distribution=distribution, position__in=wanted).order_by("position")
    return list(found.values_list("position", "amount"))


# ------------------------------------------------------------------------------------------------------------- periods


@dataclass(frozen=True)
class PeriodState:
    """One period of a programme: `due`, `missed`, `running`, `stuck` or `done`, and why."""

    programme: str
    period_key: str
    state: str
    note: str
    distribution: Distribution | None


def period_states(at: datetime, programme: str | None = None, limit: int = 50) -> list[PeriodState]:
    """Each programme's periods, newest first: those due and not opened, then up to `limit` opened ones."""
    states = []
    for name, each in sorted(registered_programmes().items()):
        if programme is None or programme.partition(":")[0] == name:
            for period in reversed(list(each.due_periods(at))):
                # A programme of many, such as all campaigns, says whose period it is.
                states.append(_not_opened(getattr(period, "programme", name), period, at))
    states = [each for each in states if programme in (None, each.programme, each.programme.partition(":")[0])]
    opened = Distribution.objects.select_related("currency").order_by("-starts_at", "-pk")
    if programme:
        opened = opened.filter(Q(programme=programme) | Q(programme__startswith=f"{programme}:"))
    else:
        opened = opened.exclude(programme__in=programmes_without_periods())
    return states + [state_of(distribution, at) for distribution in opened[:limit]]


def _not_opened(programme: str, period: Any, at: datetime) -> PeriodState:
    # Whoever pokes the job does so within the hour.
    missed = at - period.end > max(period.end - period.start, timedelta(hours=2)) + timedelta(hours=2)
    return PeriodState(programme, period.key, "missed" if missed else "due", "not opened yet", None)


def state_of(distribution: Distribution, at: datetime) -> PeriodState:
    """Where the period of a distribution stands."""
    stuck_after = timedelta(minutes=param("distributions.stuck_after_minutes"))
    state, note = "running", distribution.status
    if distribution.status in (Status.PAID, Status.CANCELLED, Status.REVERSED):
        state = "done"
    elif distribution.status == Status.FAILED:
        state, note = "stuck", distribution.error
    elif waits_for_approval(distribution):
        note = "waits for approval"
    elif at - distribution.opened_at > stuck_after:
        state = "stuck"
    return PeriodState(distribution.programme, distribution.period_key, state, note, distribution)


def waits_for_approval(distribution: Distribution) -> bool:
    return distribution.status == Status.ALLOCATED


DONE = (Status.PAID, Status.CANCELLED, Status.REVERSED)
MOST_UNFINISHED = 200


def unfinished() -> QuerySet[Distribution]:
    """The oldest distributions that are not done: running, waiting for approval, failed, stuck."""
    left = Distribution.objects.exclude(status__in=DONE).order_by("starts_at", "pk")
    return left.select_related("currency")[:MOST_UNFINISHED]


def unfinished_states(at: datetime) -> list[PeriodState]:
    """Where the distributions stand that are not done, oldest first."""
    return [state_of(distribution, at) for distribution in unfinished()]


def paid_by_day(since: datetime, zone: ZoneInfo) -> list[tuple[Currency, str, date, int]]:
    """(currency, programme, local day, minor units paid) for periods from `since` on, without reversed ones."""
    counted = Distribution.objects.filter(starts_at__gte=since, paid_amount__gt=0).exclude(status=Status.REVERSED)
    days = (
        counted.annotate(day=TruncDate("starts_at", tzinfo=zone))
        .values_list("currency", "currency__code", "currency__decimals", "programme", "day")
        .annotate(total=Sum("paid_amount"))
        .order_by("programme", "day")
    )
    return [
        (Currency(pk=pk, code=code, decimals=decimals), programme, day, int(total))
        for pk, code, decimals, programme, day, total in days
    ]
