"""The roles the product ships with, as groups. What an operator makes of a group afterwards is kept."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet

APPS = ["rewards", "badges", "leaderboard", "django_celery_beat"]
# A verdict under seal is for no role: superusers may look, and whoever they give the right by name.
SEALED = Q(content_type__app_label="rewards", content_type__model="sealedverdict")
LOOK = Q(content_type__app_label__in=APPS, codename__startswith="view_") & ~SEALED
# A job is run by whoever may change its schedule: that is also the right to refresh a board.
RUN = Q(
    codename__in=[
        "run_distribution", "run_monthlyrewardjob", "change_alert", "change_periodictask", "requeue_pendingreward",
        "delete_deployment", "moderate_case",
    ]
)  # fmt: skip
REVOKE_BADGES = Q(codename="revoke_badgeaward")
APPROVE = Q(codename__in=["approve_distribution", "reverse_distribution"])
PEOPLE = Q(content_type__app_label="auth", content_type__model="group", codename="view_group")
EVERYTHING = Q(content_type__app_label__in=APPS) & ~SEALED | PEOPLE

# Whoever prepares a campaign says how much is paid to whom, and from which amount on somebody approves it: that takes
# an administrator. An operator runs and cancels what stands.
# Support takes back badges that were given in error.
ROLES: dict[str, Q] = {
    "Viewer": LOOK,
    "Support": LOOK | REVOKE_BADGES,
    "Operator": LOOK | RUN,
    "Approver": LOOK | APPROVE,
    "Administrator": EVERYTHING,
}


def create_missing_roles() -> list[str]:
    """Create each role that has no group of its name, with its rights; names of those created."""
    standing = set(Group.objects.filter(name__in=ROLES).values_list("name", flat=True))
    missing = [name for name in ROLES if name not in standing]
    for name in missing:
        Group.objects.create(name=name).permissions.set(rights_of(name))
    return missing


def rights_of(role: str) -> QuerySet[Permission]:
    return Permission.objects.filter(ROLES[role])
