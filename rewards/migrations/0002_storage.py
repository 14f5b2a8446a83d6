"""PostgreSQL: leave room in each page of accounts, so that balance updates stay in the page and touch no index."""

from django.db import migrations


def leave_room(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE rewards_account SET (fillfactor = 50)")


class Migration(migrations.Migration):
    dependencies = [("rewards", "0001_initial")]
    operations = [migrations.RunPython(leave_room, migrations.RunPython.noop)]
