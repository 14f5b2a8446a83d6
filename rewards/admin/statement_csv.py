"""An account's statement as CSV, from its newest transfer back to its first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from unfold.decorators import action

from rewards.admin.common.downloads import ROWS_IN_A_CHUNK, Exported, csv_download, file_name
from rewards.ledger.models import Account
from rewards.ledger.services import StatementLine, statement
from rewards.users.models import User

COLUMNS = ("transfer", "time", "kind", "journal", "reason", "other account", "change", "balance", "currency")


class StatementCsv:
    """To be named before the admin class of accounts, with `statement_csv` among its `actions_detail`."""

    @action(description="Statement as CSV", url_path="statement-csv", icon="download", permissions=["view"])
    def statement_csv(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        account = get_object_or_404(Account.objects.select_related("currency", "user"), pk=object_id)
        owner = account.user.get_username() if account.user else "system"
        name = file_name(timezone.now(), "statement", owner, account.code, account.currency.code)
        exported = Exported(cast(User, request.user), "statement", {"account": str(account), "id": account.pk})
        return csv_download(name, COLUMNS, rows_of(account), exported=exported)


def rows_of(account: Account) -> Iterator[tuple[Any, ...]]:
    """All lines of the statement, newest first, a chunk at a time."""
    before = None
    while lines := statement(account, before, ROWS_IN_A_CHUNK):
        sides = ("debit_account__user", "debit_account__currency", "credit_account__user", "credit_account__currency")
        prefetch_related_objects([line.transfer for line in lines], *sides)
        for line in lines:
            yield row_of(account, line)
        if len(lines) < ROWS_IN_A_CHUNK:
            return
        before = lines[-1].cursor


def row_of(account: Account, line: StatementLine) -> tuple[Any, ...]:
    transfer, units = line.transfer, account.currency.to_units
    journal = transfer.journal
    other = transfer.debit_account if line.change > 0 else transfer.credit_account
    return (
        transfer.pk, transfer.created_at, journal.kind, journal.key, journal.reason, str(other), units(line.change),
        units(line.balance), account.currency.code,
    )  # fmt: skip
