"""The ledger against a model of it, over whatever sequence of operations: five people, two currencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rewards.common.amounts import MAX_MINOR, InvalidAmount
from rewards.common.errors import RewardsError
from rewards.ledger import services as ledger
from rewards.ledger.checks import run_checks
from rewards.ledger.errors import (
    AlreadyReversed,
    IdempotencyConflict,
    InactiveCurrency,
    InsufficientFunds,
    NotTransferable,
)
from rewards.ledger.models import BURN, ISSUANCE, Account, BalanceChange, Currency, Journal, Transfer
from rewards.ledger.services import Move
from rewards.users.models import User

PEOPLE = st.integers(0, 4)
CURRENCIES = st.integers(0, 1)
AMOUNTS = st.one_of(st.integers(1, 20), st.integers(1, 2**61))
NO_AMOUNTS = st.sampled_from([0, -1, -(2**63), MAX_MINOR + 1, 10**30, 1.5, float("nan"), True, "5", None])
TABLES = (Account, BalanceChange, Journal, Transfer)

Holding = tuple[int | str, int]  # who (a person's number or a system code) and which currency


@dataclass
class Posted:
    """A journal as the model knows it: how to post it again, and what it moved."""

    journal: Journal
    again: Callable[[], Journal]
    moves: list[tuple[Holding, Holding, int]]
    reversed: bool = False
    is_reversal: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """Each rule foretells what the ledger will say, does it in a transaction, and compares."""

    @initialize()
    def open_the_books(self) -> None:
        self.example = transaction.atomic()
        self.example.__enter__()
        self.currencies = [
            Currency.objects.create(code="coins", decimals=2, transferable=True),
            Currency.objects.create(code="points", decimals=0, transferable=True),
        ]
        self.people = [User.objects.create(username=f"user-{number}", password="!") for number in range(5)]
        self.holds: Counter[Holding] = Counter()
        self.credits: Counter[Holding] = Counter()
        self.debits: Counter[Holding] = Counter()
        self.posted: list[Posted] = []
        self.history: list[tuple[datetime, dict[Holding, int]]] = []
        self.keys = 0

    def teardown(self) -> None:
        if not hasattr(self, "example"):
            return
        try:
            assert [finding.promise for finding in run_checks() if not finding.holds] == []
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # ------------------------------------------------------------------------------------------------------- rules

    @rule(person=PEOPLE, currency=CURRENCIES, amount=AMOUNTS)
    def credit(self, person: int, currency: int, amount: int) -> None:
        self.post([((ISSUANCE, currency), (person, currency), amount)], self.using(ledger.credit, person, currency))

    @rule(person=PEOPLE, currency=CURRENCIES, amount=AMOUNTS)
    def debit(self, person: int, currency: int, amount: int) -> None:
        self.post([((person, currency), (BURN, currency), amount)], self.using(ledger.debit, person, currency))

    @rule(people=st.permutations(range(5)), currency=CURRENCIES, amount=AMOUNTS)
    def transfer(self, people: list[int], currency: int, amount: int) -> None:
        giver, taker = people[:2]

        def send(key: str, amount: int) -> Journal:
            return ledger.transfer(self.people[giver], self.people[taker], self.currencies[currency], amount, key)

        self.post([((giver, currency), (taker, currency), amount)], send)

    @rule(person=PEOPLE, currency=CURRENCIES)
    def spend_everything(self, person: int, currency: int) -> None:
        if self.holds[person, currency]:
            self.debit(person, currency, self.holds[person, currency])

    @rule(people=st.permutations(range(5)), amounts=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS))
    def pass_on(self, people: list[int], amounts: tuple[int, int, int]) -> None:
        """From one to the next in both currencies, all of it or nothing."""
        first, second, third = people[:3]
        moves = [
            ((first, 0), (second, 0), amounts[0]),
            ((second, 0), (third, 0), amounts[1]),
            ((second, 1), (first, 1), amounts[2]),
        ]

        def post(key: str, amount: int) -> Journal:
            changed = [
                (giver, taker, amount if number == 0 else units) for number, (giver, taker, units) in enumerate(moves)
            ]
            return ledger.post(
                key, "circle", [Move(self.account(a), self.account(b), units) for a, b, units in changed]
            )

        self.post(moves, post)

    @precondition(lambda self: self.posted)
    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        earlier = data.draw(st.sampled_from(self.posted), label="retry")
        before = self.rows()
        with transaction.atomic():
            assert earlier.again() == earlier.journal
        assert self.rows() == before

    @precondition(lambda self: self.posted)
    @rule(data=st.data(), person=PEOPLE, currency=CURRENCIES, amount=AMOUNTS)
    def take_a_used_key(self, data: Any, person: int, currency: int, amount: int) -> None:
        key = data.draw(st.sampled_from(self.posted), label="key of").journal.key
        self.refused(
            IdempotencyConflict,
            lambda: ledger.credit(self.people[person], self.currencies[currency], amount, key, "", kind="another"),
        )

    @precondition(lambda self: self.posted)
    @rule(data=st.data())
    def reverse(self, data: Any) -> None:
        original = data.draw(st.sampled_from(self.posted), label="reverse")
        mirrored = [(taker, giver, amount) for giver, taker, amount in original.moves]
        if original.reversed or original.is_reversal:
            self.refused(AlreadyReversed, lambda: ledger.reverse(original.journal, "again"))
        elif expected := self.expected_error(mirrored):
            self.refused(expected, lambda: ledger.reverse(original.journal, "spent already"))
        else:
            with transaction.atomic():
                journal = ledger.reverse(original.journal, "a mistake")
            original.reversed = True
            self.book(Posted(journal, lambda: journal, mirrored, is_reversal=True))

    @rule(person=PEOPLE, currency=CURRENCIES, amount=NO_AMOUNTS)
    def no_amount(self, person: int, currency: int, amount: Any) -> None:
        for operation in (ledger.credit, ledger.debit):
            post = self.using(operation, person, currency)
            self.refused(InvalidAmount, lambda post=post: post("no amount", amount))

    @rule(people=st.permutations(range(5)), currency=CURRENCIES, amount=AMOUNTS)
    def closed_currency(self, people: list[int], currency: int, amount: int) -> None:
        closed = Currency(pk=self.currencies[currency].pk, code="closed", active=False, transferable=True)
        giver, taker = self.people[people[0]], self.people[people[1]]
        self.refused(InactiveCurrency, lambda: ledger.transfer(giver, taker, closed, amount, "closed"))
        closed.active, closed.transferable = True, False
        self.refused(NotTransferable, lambda: ledger.transfer(giver, taker, closed, amount, "not to be sent"))

    # --------------------------------------------------------------------------------------- what they have in common

    def using(self, operation: Callable[..., Journal], person: int, currency: int) -> Callable[[str, Any], Journal]:
        return lambda key, amount: operation(self.people[person], self.currencies[currency], amount, key, "")

    def post(self, moves: list[tuple[Holding, Holding, int]], operation: Callable[[str, int], Journal]) -> None:
        """Post under a new key, or see it refused, as the model foretells; a refused key is free afterwards."""
        self.keys += 1
        key, amount = f"key-{self.keys}", moves[0][2]
        expected = self.expected_error(moves)
        if expected:
            self.refused(expected, lambda: operation(key, amount))
            return
        with transaction.atomic():
            journal = operation(key, amount)
        self.book(Posted(journal, lambda: operation(key, amount), moves))
        if amount > 1:
            self.refused(IdempotencyConflict, lambda: operation(key, amount - 1))

    def expected_error(self, moves: list[tuple[Holding, Holding, int]]) -> type[RewardsError] | None:
        if sum(amount for _, _, amount in moves) > MAX_MINOR:
            return InvalidAmount
        after = self.holds.copy()
        for giver, taker, amount in moves:
            after[giver] -= amount
            after[taker] += amount
        if any(held < 0 for (who, _), held in after.items() if who != ISSUANCE):
            return InsufficientFunds
        return InvalidAmount if any(abs(held) > MAX_MINOR for held in after.values()) else None

    def refused(self, error: type[RewardsError], operation: Callable[[], object]) -> None:
        """It is refused with that error, and leaves every row as it was."""
        before = self.rows()
        with pytest.raises(error), transaction.atomic():
            operation()
        assert self.rows() == before

    def book(self, posted: Posted) -> None:
        self.posted.append(posted)
        for giver, taker, amount in posted.moves:
            self.holds[giver] -= amount
            self.holds[taker] += amount
            self.debits[giver] += amount
            self.credits[taker] += amount

    def account(self, holding: Holding) -> Account:
        who, currency = holding
        if isinstance(who, int):
            return ledger.user_account(self.people[who], self.currencies[currency])
        return ledger.system_account(who, self.currencies[currency])

    def holding_of(self, account: Account) -> Holding:
        who = account.code if account.user is None else self.people.index(account.user)
        return who, [currency.pk for currency in self.currencies].index(account.currency_id)

    def accounts(self) -> dict[Holding, Account]:
        return {self.holding_of(account): account for account in Account.objects.select_related("user")}

    def rows(self) -> tuple[dict[int, int], list[int]]:
        """Every balance as it is stored, and how many rows there are."""
        balances = dict(Account.objects.values_list("pk", "balance"))
        return balances, [table.objects.count() for table in TABLES]

    # ---------------------------------------------------------------------------------------------- what holds always

    @invariant()
    def all_balances_now_and_then_are_what_the_model_says(self) -> None:
        accounts = self.accounts()
        held = {holding: ledger.balance(account) for holding, account in accounts.items()}
        assert held == {holding: self.credits[holding] - self.debits[holding] for holding in accounts}
        assert {holding for holding, units in self.holds.items() if units} <= held.keys()
        for currency in (0, 1):
            assert sum(units for (_, of), units in held.items() if of == currency) == 0
        assert min((units for (who, _), units in held.items() if who != ISSUANCE), default=0) >= 0
        self.history.append((self.moment_of_the_newest(), held))
        moment, held_then = self.history[self.keys * 31 % len(self.history)]  # another one after each step
        for holding, account in accounts.items():
            assert ledger.balance(account, at=moment) == held_then.get(holding, 0)

    def moment_of_the_newest(self) -> datetime:
        """When the newest journal was written; none that follows will be of the same instant."""
        newest = Journal.objects.order_by("-pk").values_list("created_at", flat=True).first() or timezone.now()
        while timezone.now() <= newest:
            continue
        return newest


@pytest.mark.django_db
def test_the_ledger_does_what_its_model_says():
    thirty_by_thirty = settings(max_examples=30, stateful_step_count=30, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(LedgerMachine, settings=thirty_by_thirty)
