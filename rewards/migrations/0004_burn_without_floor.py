from django.db import migrations


class Migration(migrations.Migration):
    """Nobody draws from `burn`, but everybody's spending ends there: without a floor nobody waits for its row."""

    dependencies = [("rewards", "0003_claims_and_access")]

    operations = [
        migrations.RunSQL(
            "UPDATE rewards_account SET min_balance = NULL WHERE code = 'burn' AND user_id IS NULL",
            reverse_sql="UPDATE rewards_account SET min_balance = 0 WHERE code = 'burn' AND user_id IS NULL",
        ),
    ]
