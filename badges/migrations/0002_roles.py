"""What the roles may in this app."""

from django.db import migrations

from rewards.users.roles import ship_rights


def ship(apps, schema_editor):
    ship_rights(apps, schema_editor, "badges")


class Migration(migrations.Migration):

    dependencies = [
        ('rewards', '0016_corrections_and_roles'),
        ('badges', '0001_initial'),
    ]

    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
