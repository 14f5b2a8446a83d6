"""A currency that is saved or deleted is announced, so that every process reads it again."""

from __future__ import annotations

from django.db.models.signals import post_delete, post_save

from rewards.ledger.models import Currency
from rewards.parameters.services import announce_change

post_save.connect(announce_change, sender=Currency, dispatch_uid="currency_saved")
post_delete.connect(announce_change, sender=Currency, dispatch_uid="currency_deleted")
