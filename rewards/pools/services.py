"""What others may ask of the pools."""

from __future__ import annotations

from rewards.pools.accrual import HourNotOver, NoRate, PoolCurrencies, accrue, accrue_hour
from rewards.pools.forecast import Forecast, forecast
from rewards.pools.late import payout_with_late_votes
from rewards.pools.partner_database import (
    ExportResult,
    NoPartnerDatabase,
    NoPartnerKey,
    NoPartnerTable,
    PartnerUnreachable,
    export_partners,
    setup_partner_database,
)
from rewards.pools.queries import NoPools
from rewards.pools.runs import Failure, RunResult, run_daily, run_hourly
from rewards.pools.setup import PoolSetup, create_default_pools, setup_pools
from rewards.pools.top_ups import PeriodFrozen, PeriodNeverPaid, UnknownPeriod, top_up

__all__ = [
    "ExportResult",
    "Failure",
    "Forecast",
    "HourNotOver",
    "NoPartnerDatabase",
    "NoPartnerKey",
    "NoPartnerTable",
    "NoPools",
    "NoRate",
    "PartnerUnreachable",
    "PeriodFrozen",
    "PeriodNeverPaid",
    "PoolCurrencies",
    "PoolSetup",
    "RunResult",
    "UnknownPeriod",
    "accrue",
    "accrue_hour",
    "create_default_pools",
    "export_partners",
    "forecast",
    "payout_with_late_votes",
    "run_daily",
    "run_hourly",
    "setup_partner_database",
    "setup_pools",
    "top_up",
]
