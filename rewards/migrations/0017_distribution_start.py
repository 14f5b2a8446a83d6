"""What was paid in the last days is found without reading every payout there ever was."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rewards', '0016_corrections_and_roles'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='distribution',
            index=models.Index(fields=['starts_at'], name='distribution_start'),
        ),
    ]
