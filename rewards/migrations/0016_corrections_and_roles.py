"""Corrections of accounts, and the roles: what they may in this app and in the scheduler's."""

import django.db.models.deletion
import rewards.common.database
from django.conf import settings
from django.db import migrations, models

from rewards.users.roles import ship_rights


def ship(apps, schema_editor):
    ship_rights(apps, schema_editor, "auth", "django_celery_beat", "rewards")


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('django_celery_beat', '0019_alter_periodictasks_options'),
        ('rewards', '0015_arguments_newest'),
    ]

    operations = [
        migrations.CreateModel(
            name='Correction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.BigIntegerField(help_text='Minor units, signed: below zero it was taken')),
                ('against', models.CharField(help_text='The system account on the other side', max_length=80)),
                ('created_at', models.DateTimeField()),
                ('actor', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('currency', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='rewards.currency')),
                ('journal', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='correction', to='rewards.journal')),
                ('takes_back', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='taken_back_by', to='rewards.correction')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='corrections', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'permissions': [('post_correction', 'Can give to and take from users within the limit')],
                'indexes': [models.Index(fields=['user', '-id'], name='correction_of_user'), models.Index(fields=['actor', 'currency', 'created_at'], name='correction_of_day')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount', 0), _negated=True), name='correction_is_not_nothing'), models.CheckConstraint(condition=models.Q(('user', models.F('actor')), _negated=True), name='correction_by_somebody_else'), rewards.common.database.WholeNumber(column='amount', name='correction_amount_is_whole'), rewards.common.database.AppendOnly(name='correction_append_only')],
            },
        ),
        migrations.RunPython(ship, migrations.RunPython.noop),
    ]
