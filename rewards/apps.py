from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RewardsConfig(AppConfig):
    name = "rewards"
    verbose_name = "Rewards"

    def ready(self) -> None:
        import rewards.audit.receivers  # importing connects them
        import rewards.claims.receivers
        import rewards.ledger.receivers  # noqa: F401
        from rewards.campaigns import programme as campaigns
        from rewards.cases import programme as cases
        from rewards.chain_claims import checks as chain_claims
        from rewards.claims import checks as claims
        from rewards.common.database import create_missing_guards
        from rewards.deployments.sources import register_sources
        from rewards.distributions import checks as distributions
        from rewards.exchange.rules import register_kinds
        from rewards.monthly import programme as monthly
        from rewards.pending.programme import register_programme
        from rewards.pools.programmes import register_all

        distributions.register_checks()
        claims.register_checks()
        chain_claims.register_checks()
        register_programme()
        register_sources()
        register_all()
        campaigns.register_all()
        monthly.register_programme()
        cases.register_programme()
        register_kinds()
        post_migrate.connect(
            lambda using, **kwargs: create_missing_guards(using), sender=self, weak=False, dispatch_uid="guards"
        )
