"""The badges the product ships with."""

from __future__ import annotations

from django.db import transaction

from badges.criteria import JOINED_IN_BETA, WALLET_CONNECTED
from badges.models import Badge

_BADGES = (
    ("first_win", "First Victory", "🏆", "Won your first case", "cases_won", 1, "wins", 50),
    ("five_wins", "Winning Streak", "🔥", "Won 5 cases", "cases_won", 5, "wins", 200),
    ("ten_wins", "Champion", "👑", "Won 10 cases", "cases_won", 10, "wins", 500),
    ("top_argument", "Master Debater", "💬", "Had a top 3 argument", "top_arguments", 1, "top arguments", 100),
    ("top_argument_3x", "Persuasion Expert", "🎯", "Had 3 top 3 arguments", "top_arguments", 3, "top arguments", 300),
    ("active_participant", "Active Member", "⭐", "Took part 20 times", "participations", 20, "participations", 150),
    ("dedicated_voter", "Dedicated Voter", "🗳️", "Cast 50 votes on cases", "votes", 50, "votes", 250),
    ("early_adopter", "Early Adopter", "🚀", "Joined before the end of beta", JOINED_IN_BETA, 1, "joined in beta", 100),
    ("wallet_connected", "Blockchain Ready", "🔗", "Connected a wallet", WALLET_CONNECTED, 1, "wallet connected", 50),
)


def create_default_badges() -> list[str]:
    """Create the nine that are missing, active; slugs of those created. What stands is an operator's and stays."""
    created = []
    with transaction.atomic():
        for badge in default_badges():
            if not Badge.objects.filter(slug=badge.slug).exists():
                badge._change_reason = "default"  # type: ignore[attr-defined]
                badge.save()
                created.append(badge.slug)
    return created


def default_badges() -> list[Badge]:
    """The nine, not written, in their order."""
    return [
        Badge(
            slug=slug, name=name, icon=icon, description=description, metric=metric, threshold=threshold, unit=unit,
            bonus=bonus, active=True, order=place * 10,
        )
        for place, (slug, name, icon, description, metric, threshold, unit, bonus) in enumerate(_BADGES, 1)
    ]  # fmt: skip
