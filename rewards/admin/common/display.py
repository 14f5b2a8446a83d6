"""How values look: amounts, badges, durations, JSON."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from rewards.common.amounts import canonical_decimal, to_units
from rewards.ledger.models import Currency

# What each status means for whoever looks: nothing to do, wait, do something.
STATUS_KINDS = {
    "open": "info",
    "frozen": "info",
    "allocated": "warning",
    "approved": "info",
    "paying": "info",
    "paid": "success",
    "reversed": "",
    "cancelled": "",
    "failed": "danger",
    "running": "info",
    "succeeded": "success",
    "lost": "danger",
    "due": "info",
    "missed": "warning",
    "stuck": "danger",
    "done": "success",
    "warning": "warning",
    "critical": "danger",
    "resolved": "success",
    "sent": "success",
    "waiting": "info",
    "failing": "danger",
    "alive": "success",
    "stopped": "",
    "silent": "danger",
    "none": "",
    "claimable": "info",
    "processing": "info",
    "completed": "success",
    "draft": "info",
    "pending_moderation": "warning",
    "active": "success",
    "closed": "",
    "void": "",
    "submitted": "info",
    "confirmed": "success",
}

# Words that say more than the stored status does.
STATUS_WORDS = {"allocated": "waits for approval", "pending_moderation": "waits for moderation"}


def amount(minor: int | None, currency: Currency) -> str:
    """Currency units with their code: `1,234.50 points`."""
    return "–" if minor is None else f"{grouped(to_units(minor, currency.decimals))} {currency.code}"


def units(minor: int | None, currency: Currency) -> str:
    """Currency units without the code, for columns that are all in one currency."""
    return "–" if minor is None else grouped(to_units(minor, currency.decimals))


def signed_units(minor: int, currency: Currency) -> str:
    return f"{'+' if minor > 0 else '−' if minor < 0 else ''}{units(abs(minor), currency)}"


def grouped(number: int | str) -> str:
    """A whole or decimal number with its thousands set apart: `1,234,567.25`."""
    whole, point, fraction = str(number).partition(".")
    sign = "-" if whole.startswith("-") else ""
    digits = whole.lstrip("-")
    return f"{sign}{int(digits):,}{point}{fraction}" if digits.isdecimal() else str(number)


def exact(value: Any) -> str:
    """A rate or weight with every digit it has, and no zeros after them."""
    return canonical_decimal(Decimal(value))


def badge(status: str, text: str | None = None, kind: str | None = None) -> SafeString:
    """A coloured label for a status."""
    shown = text or STATUS_WORDS.get(status, status)
    context = {"text": shown, "type": STATUS_KINDS.get(status, "") if kind is None else kind}
    return render_to_string("unfold/helpers/label.html", context)


def pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False)


def json_block(value: Any) -> SafeString:
    return format_html('<pre class="rewards-code">{}</pre>', pretty_json(value))


def text_block(text: str) -> SafeString | str:
    return format_html('<pre class="rewards-code">{}</pre>', text) if text else "–"


def duration(seconds: float | None) -> str:
    """`40 ms`, `12.3 s`, `4 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    if seconds is None:
        return "–"
    if 0 < seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def ago(instant: datetime | None, now: datetime | None = None) -> str:
    """`12 s ago`; `in 12 min` for what is to come."""
    if instant is None:
        return "never"
    seconds = ((now or timezone.now()) - instant).total_seconds()
    return f"{duration(float(int(seconds)))} ago" if seconds >= 0 else f"in {duration(float(int(-seconds)))}"


def link_to(obj: Model | None, text: str | None = None) -> SafeString | str:
    """A link to an object's admin page; its text alone where it has none."""
    if obj is None:
        return "–"
    try:
        url = admin_url(obj)
    except NoReverseMatch:
        return text or str(obj)
    return format_html('<a class="rewards-link" href="{}">{}</a>', url, text or str(obj))


def admin_url(obj: Model | type[Model], view: str = "") -> str:
    """The address of an object's page, or of a model's list."""
    meta = obj._meta
    base = f"admin:{meta.app_label}_{meta.model_name}_"
    if isinstance(obj, type):
        return reverse(base + (view or "changelist"))
    return reverse(base + (view or "change"), args=[quote(obj.pk)])
