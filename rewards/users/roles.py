"""The roles the product ships with, as groups. What an operator makes of a group afterwards is kept."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet

LOOK = Q(content_type__app_label__in=["rewards", "django_celery_beat"], codename__startswith="view_")
RUN = Q(codename__in=["run_distribution", "change_alert", "change_periodictask"])
APPROVE = Q(codename__in=["approve_distribution", "reverse_distribution"])
PEOPLE = Q(content_type__app_label="auth", content_type__model="group", codename="view_group")
EVERYTHING = Q(content_type__app_label__in=["rewards", "django_celery_beat"]) | PEOPLE

# Support has no right beyond looking until it can post corrections.
ROLES: dict[str, Q] = {
    "Viewer": LOOK,
    "Support": LOOK,
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
