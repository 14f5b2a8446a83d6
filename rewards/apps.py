from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RewardsConfig(AppConfig):
    name = "rewards"
    verbose_name = "Rewards"

    def ready(self) -> None:
        import rewards.audit.receivers  # importing connects them
        import rewards.claims.receivers
        import rewards.ledger.receivers  # noqa: F401
        from rewards.claims import checks as claims
        from rewards.common.database import create_missing_guards
        from rewards.distributions import checks as distributions
        from rewards.pools.programmes import register_all

        distributions.register_checks()
        claims.register_checks()
        register_all()
        post_migrate.connect(
            lambda using, **kwargs: create_missing_guards(using), sender=self, weak=False, dispatch_uid="guards"
        )
