from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RewardsConfig(AppConfig):
    name = "rewards"
    verbose_name = "Rewards"

    def ready(self) -> None:
        from rewards.audit import receivers  # noqa: F401 - importing connects them
        from rewards.claims import checks as claims
        from rewards.claims import receivers as announcing  # noqa: F401 - so does this
        from rewards.common.database import create_missing_guards
        from rewards.distributions import checks as distributions
        from rewards.pools.programmes import register_all

        distributions.register_checks()
        claims.register_checks()
        register_all()
        post_migrate.connect(
            lambda using, **kwargs: create_missing_guards(using), sender=self, weak=False, dispatch_uid="guards"
        )
