"""What somebody got of a payout to everybody is found by one index, be there ever so much of both."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rewards', '0017_distribution_start'),
    ]

    operations = [
        migrations.AlterField(
            model_name='transfer',
            name='journal',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='transfers', to='rewards.journal'),
        ),
        migrations.AddIndex(
            model_name='transfer',
            index=models.Index(fields=['journal', 'credit_account'], name='transfer_journal'),
        ),
    ]
