"""What is in the CSV of each list. Amounts are in units of the currency that stands beside them."""

from __future__ import annotations

from rewards.admin.common.downloads import CsvExport, in_units


class DistributionsCsv(CsvExport):
    csv_select_related = ["currency", "actor", "approved_by"]
    csv_columns = [
        ("id", "pk"),
        ("programme", "programme"),
        ("period", "period_key"),
        ("starts at", "starts_at"),
        ("ends at", "ends_at"),
        ("status", "status"),
        ("amount", in_units("amount")),
        ("paid", in_units("paid_amount")),
        ("carried over", in_units("carried_over")),
        ("currency", "currency.code"),
        ("recipients", "recipients"),
        ("participants", "participants"),
        ("payout", "payout"),
        ("rule", "rule"),
        ("tie policy", "tie_policy"),
        ("digest", "digest"),
        ("late events", "late_events"),
        ("opened by", "actor.username"),
        ("approved by", "approved_by.username"),
        ("opened at", "opened_at"),
        ("paid at", "paid_at"),
        ("reversed at", "reversed_at"),
        ("failed at", "failed_at"),
        ("reason", "reason"),
        ("error", "error"),
    ]


class RewardsCsv(CsvExport):
    """Without the salts, which hide amounts from neighbours."""

    csv_columns = [
        ("id", "pk"),
        ("programme", "distribution.programme"),
        ("period", "distribution.period_key"),
        ("distribution status", "distribution.status"),
        ("user", "user.username"),
        ("position", "position"),
        ("rank", "rank"),
        ("score", "score"),
        ("amount", in_units("amount", "distribution.currency")),
        ("currency", "distribution.currency.code"),
    ]


class JournalsCsv(CsvExport):
    csv_columns = [
        ("id", "pk"),
        ("time", "created_at"),
        ("key", "key"),
        ("kind", "kind"),
        ("by", "actor.username"),
        ("reason", "reason"),
        ("metadata", "metadata"),
    ]


class TransfersCsv(CsvExport):
    csv_columns = [
        ("id", "pk"),
        ("time", "created_at"),
        ("from", lambda transfer: str(transfer.debit_account)),
        ("to", lambda transfer: str(transfer.credit_account)),
        ("amount", in_units("amount")),
        ("currency", "currency.code"),
        ("journal", "journal.key"),
        ("kind", "journal.kind"),
        ("reverses", "reverses_id"),
    ]


class ClaimsCsv(CsvExport):
    csv_columns = [
        ("id", "pk"),
        ("time", "claimed_at"),
        ("user", "user.username"),
        ("type", "claim_type.slug"),
        ("key", "claim_key"),
        ("gave", lambda claim: (claim.result or {}).get("credits")),
        ("took", lambda claim: (claim.result or {}).get("debits")),
    ]


class AlertsCsv(CsvExport):
    csv_columns = [
        ("id", "pk"),
        ("code", "code"),
        ("subject", "subject"),
        ("severity", "severity"),
        ("message", "message"),
        ("count", "count"),
        ("first seen", "first_seen"),
        ("last seen", "last_seen"),
        ("resolved at", "resolved_at"),
    ]


class AuditEventsCsv(CsvExport):
    csv_select_related = ["distribution", "currency", "actor", "user"]
    csv_columns = [
        ("event id", "event_id"),
        ("time", "timestamp"),
        ("event", "event_type"),
        ("success", "success"),
        ("programme", "distribution.programme"),
        ("period", "distribution.period_key"),
        ("user", "user.username"),
        ("reward", "reward_id"),
        ("amount", in_units("amount")),
        ("currency", "currency.code"),
        ("by", "actor.username"),
        ("reason", "reason"),
        ("error", "error_message"),
        ("data", "data"),
    ]
