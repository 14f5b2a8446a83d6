"""The roles the product ships with, as groups. What an operator makes of a group afterwards is kept.

Migrations bring them (`ship_rights`): the groups once, and with each version the rights that are new in it.
`setup_defaults` brings back a group that is missing.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
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
CORRECT = Q(codename="post_correction")
APPROVE = Q(codename__in=["approve_distribution", "reverse_distribution"])
PEOPLE = Q(content_type__app_label="auth", content_type__model="group", codename="view_group")
EVERYTHING = Q(content_type__app_label__in=APPS) & ~SEALED | PEOPLE

# Whoever prepares a campaign says how much is paid to whom, and from which amount on somebody approves it: that takes
# an administrator. An operator runs and cancels what stands.
# Support takes back badges that were given in error, and corrects accounts up to a limit.
ROLES: dict[str, Q] = {
    "Viewer": LOOK,
    "Support": LOOK | REVOKE_BADGES | CORRECT,
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


def ship_rights(apps: Any, schema_editor: Any, *app_labels: str) -> None:
    """For a migration, whose `apps` it is: each group gets what is new in these apps, a new installation the groups.

    New is a right that has no row yet: its model came after the last `migrate`. Who has a right that was there before
    was decided already, by an earlier version or by an operator, and stays. A group that is missing where the product
    stood before is left to `setup_defaults`, which gives it everything it is to have. Rows are written here, because
    Django writes them only after all migrations.
    """
    using = schema_editor.connection.alias
    groups, rights = (apps.get_model("auth", name).objects.using(using) for name in ("Group", "Permission"))
    in_these = rights.filter(content_type__app_label__in=app_labels)
    standing = set(in_these.values_list("pk", flat=True))
    is_new = not rights.filter(content_type__app_label="rewards").exists()
    for label in app_labels:
        state = apps.get_app_config(label)
        state.models_module = True  # what a model of a migration has none of, and Django asks for
        create_permissions(state, apps=apps, verbosity=0, using=using)
    for name, what in ROLES.items():
        group = groups.get_or_create(name=name)[0] if is_new else groups.filter(name=name).first()
        if group is not None:
            group.permissions.add(*in_these.filter(what).exclude(pk__in=standing))
