from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rewards", "0012_each_use_of_a_dilemma_once")]

    operations = [
        migrations.AddField(
            model_name="rewardclaim",
            name="failures",
            field=models.PositiveIntegerField(default=0, help_text="How often in a row it could not be looked after"),
        ),
        migrations.AddIndex(
            model_name="rewardclaim",
            index=models.Index(
                condition=models.Q(("status", "processing")), fields=["id"], name="reward_claim_processing"
            ),
        ),
    ]
