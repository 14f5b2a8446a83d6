"""A recipe that is saved or deleted is announced, so that every process compiles it again."""

from __future__ import annotations

from django.db.models.signals import post_delete, post_save

from rewards.claims.models import ClaimType, Line
from rewards.parameters.services import announce_change

for _model in (ClaimType, Line):
    post_save.connect(announce_change, sender=_model, dispatch_uid=f"recipe_saved_{_model.__name__}")
    post_delete.connect(announce_change, sender=_model, dispatch_uid=f"recipe_deleted_{_model.__name__}")
