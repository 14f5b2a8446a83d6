"""What the page of one case shows. Nothing here reads a verdict that is under seal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from rewards.admin.common.display import admin_url, ago, amount, badge, exact, grouped, link_to
from rewards.admin.common.tables import Table
from rewards.alerts.models import Alert
from rewards.cases.commitments import COMMITMENT_FAILED, COMMITMENT_MISMATCH
from rewards.cases.failures import CASE_FAILED
from rewards.cases.models import PROGRAMME, Argument, Case, SealedVerdict
from rewards.cases.sealing import hash_of
from rewards.chain.models import ChainTransaction
from rewards.distributions.models import Distribution
from rewards.distributions.queries import waits_for_approval
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance
from rewards.parameters.services import param

ARGUMENTS_SHOWN = 50
MOST_COUNTED = 10_000
Status = Case.Status

NOT_OVER = (Status.PENDING_MODERATION, Status.DRAFT, Status.ACTIVE)


def page_of(case: Case, at: datetime) -> dict[str, Any]:
    distribution = distribution_of(case)
    first, _, stack = case.error.partition("\n")
    return {
        "case": case,
        "state": state_of(case),
        "next_step": what_next(case, distribution, at),
        "figures": figures_of(case),
        "facts": facts_of(case),
        "revealed": revealed(case),
        "commitment": commitment_facts(case, at),
        "payout": payout_facts(distribution),
        "arguments": arguments_table(case),
        "arguments_url": f"{admin_url(Argument)}?case__id__exact={case.pk}" if case.opens_at else "",
        "error": first,
        "stack": case.error if stack.strip() else "",
        "alerts": alerts_of(case),
        "sealed": case.status != Status.CLOSED and SealedVerdict.objects.filter(case=case).exists(),
    }


def distribution_of(case: Case) -> Distribution | None:
    found = Distribution.objects.filter(programme=PROGRAMME, period_key=case.period_key)
    return found.select_related("currency").first()


def alerts_of(case: Case) -> list[Alert]:
    """What is open about it, but for what its own error says."""
    codes = [COMMITMENT_MISMATCH, COMMITMENT_FAILED, *([] if case.error else [CASE_FAILED])]
    return list(Alert.objects.filter(code__in=codes, subject=case.period_key, resolved_at=None).order_by("pk"))


# ------------------------------------------------------------------------------------------------------------- in words


def is_rejected(case: Case) -> bool:
    """Whether it was turned down in moderation, rather than ended later: what is approved has a hash."""
    return case.status == Status.VOID and not case.verdict_hash


def is_due(case: Case, at: datetime) -> bool:
    return case.status == Status.ACTIVE and case.closes_at is not None and case.closes_at <= at


def state_of(case: Case) -> SafeString:
    """Its status; whether it was rejected, and whether a job fails with it."""
    if case.failures:
        return badge("failed", f"{case.get_status_display().partition(' (')[0]}, failing")
    if is_rejected(case):
        return badge(case.status, "Rejected")
    if case.status == Status.CLOSED and case.settled_at is None:
        return badge("paying", "Closed, being paid")
    return badge(case.status, case.get_status_display().partition(" (")[0])


def what_next(case: Case, distribution: Distribution | None, at: datetime) -> str:
    """What there is to do, or what happens by itself, in a sentence or two."""
    if case.status == Status.PENDING_MODERATION:
        return "A moderator approves it with a verdict, which is sealed and committed before it opens, or rejects it."
    if case.status == Status.DRAFT:
        return _before_it_opens(case)
    if case.status == Status.ACTIVE:
        return _while_it_is_open(case, at)
    if case.status == Status.VOID:
        return "It was turned down and has never been open." if is_rejected(case) else _void(case)
    if case.settled_at is not None:
        return "Its verdict is revealed and everybody is paid. There is nothing to do."
    if distribution is not None and waits_for_approval(distribution):
        return "Its verdict is revealed. Its payout waits for an approver; the rest follows by itself."
    return "Its verdict is revealed; what follows from it is being done. The job close_cases goes on with it."


def _before_it_opens(case: Case) -> str:
    commitment = case.commitment
    if commitment is None:
        return "Its verdict is not committed yet."
    if commitment.status == ChainTransaction.Status.FAILED:
        return "The chain has not taken the commitment of its verdict: check_verdicts commits it again."
    if commitment.confirmations:
        return "The chain has taken the commitment of its verdict: check_verdicts opens it with its next run."
    return "Its verdict is sealed and its hash on the way to the chain. It opens once the chain has taken it."


def _while_it_is_open(case: Case, at: datetime) -> str:
    closes = f"{case.closes_at:%Y-%m-%d %H:%M} UTC"
    if is_due(case, at):
        return f"Voting ended at {closes}: close_cases reveals its verdict with its next run and pays its rewards."
    return f"Users vote and argue until {closes}. Then close_cases reveals its verdict and pays its rewards."


def _void(case: Case) -> str:
    if case.opens_at is None:
        return "It was ended before it opened. Its verdict stays sealed."
    return "It was ended before its verdict was revealed: nobody is paid, its escrow went to the treasury."


# ------------------------------------------------------------------------------------------------------- figures, facts


def escrow_of(case: Case) -> Account | None:
    return Account.objects.select_related("currency").filter(user=None, code=case.escrow).first()


def escrow_in_words(case: Case) -> str:
    escrow = escrow_of(case)
    return amount(balance(escrow), escrow.currency) if escrow else "nothing"


def figures_of(case: Case) -> list[tuple[str, Any, str]]:
    votes = case.yes_votes + case.no_votes
    arguments = case.arguments.all()[: MOST_COUNTED + 1].count()
    escrow = escrow_of(case)
    return [
        ("Yes", grouped(case.yes_votes), share(case.yes_votes, votes)),
        ("No", grouped(case.no_votes), share(case.no_votes, votes)),
        ("Arguments", grouped(arguments) if arguments <= MOST_COUNTED else f"over {grouped(MOST_COUNTED)}", ""),
        ("Reward pool", pool_in_words(case, escrow), "filled when it opened" if escrow else "filled when it opens"),
        (
            "In escrow now",
            amount(balance(escrow), escrow.currency) if escrow else "–",
            link_to(escrow) if escrow else "",
        ),
    ]


def share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} of the votes" if whole else "no vote yet"


def pool_in_words(case: Case, escrow: Account | None) -> str:
    """What was put into its escrow; before it opens, what would be."""
    if escrow is not None:
        return amount(escrow.currency.to_minor(case.reward_pool), escrow.currency)
    currency = Currency.objects.filter(code=param("cases.currency")).first()
    return amount(currency.to_minor(param("cases.reward_pool")), currency) if currency else "–"


def facts_of(case: Case) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("From", link_to(case.created_by) if case.created_by else "the generator"),
        ("Written", moment(case.created_at)),
        ("Pays", case.get_payout_display()),
    ]
    if case.moderated_by:
        facts.append(("Moderated by", link_to(case.moderated_by)))
    if case.reason:
        facts.append(("Reason", case.reason))
    for name, instant in (
        ("Opened", case.opens_at),
        ("Open until", case.closes_at),
        ("Closed", case.closed_at),
        ("Settled", case.settled_at),
    ):
        if instant:
            facts.append((name, moment(instant)))
    return facts


def moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def revealed(case: Case) -> list[tuple[str, Any]]:
    """The verdict of a closed case, and whether it hashes to what was committed; nothing before."""
    if case.status != Status.CLOSED or not case.verdict:
        return []
    is_same = hash_of(case.verdict, case.reasoning, case.nonce) == case.verdict_hash
    return [
        ("Verdict", case.get_verdict_display()),
        ("Reasoning", text(case.reasoning)),
        ("Confidence", exact(case.confidence) if case.confidence is not None else "–"),
        ("Nonce", code(case.nonce)),
        ("Check", badge("done", "hashes to what was committed") if is_same else badge("failed", "another hash")),
    ]


def text(words: str) -> SafeString:
    """With its line breaks."""
    return format_html('<span class="rewards-text">{}</span>', words)


def code(characters: str | None) -> SafeString | str:
    return format_html('<code class="rewards-hash">{}</code>', characters) if characters else "–"


def commitment_facts(case: Case, at: datetime) -> list[tuple[str, Any]]:
    """The hash, and the transaction that carries it."""
    commitment = case.commitment
    if commitment is None:
        return []
    facts = [
        ("Verdict hash", code(case.verdict_hash)),
        ("Transaction", link_to(commitment)),
        ("Status", badge(commitment.status)),
        ("Confirmations", grouped(commitment.confirmations)),
        ("Looked at", ago(commitment.checked_at, at)),
    ]
    if commitment.payload_hash != case.verdict_hash:
        facts.append(("Check", badge("failed", "another hash than the case's")))
    if commitment.error:
        facts.append(("Error", commitment.error))
    return facts


def payout_facts(distribution: Distribution | None) -> list[tuple[str, Any]]:
    if distribution is None:
        return []
    currency = distribution.currency
    return [
        ("Distribution", link_to(distribution)),
        ("Status", badge(distribution.status)),
        ("Paid", amount(distribution.paid_amount, currency)),
        ("Recipients", f"{grouped(distribution.recipients)} of {grouped(distribution.participants)} participants"),
        ("Left over, to the treasury", amount(distribution.carried_over, currency)),
    ]


def arguments_table(case: Case) -> Table:
    """The best ones; with their places once it is closed."""
    is_closed = case.status == Status.CLOSED
    columns = [*(["Place"] if is_closed else []), "User", "Side", "Argument", "Likes"]
    best = case.arguments.select_related("user").order_by("-likes", "created_at", "pk")[:ARGUMENTS_SHOWN]
    rows: list[list[Any]] = [
        [*([place_of(each)] if is_closed else []), link_to(each.user), each.side, each.text, grouped(each.likes)]
        for each in best
    ]
    return Table(columns, rows, frozenset({"Likes"}), "Nobody has argued.")


def place_of(argument: Argument) -> str:
    return f"{argument.top_place}." if argument.top_place else "–"
