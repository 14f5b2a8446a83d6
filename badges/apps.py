from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class BadgesConfig(AppConfig):
    name = "badges"

    def ready(self) -> None:
        from badges.demo import make_demo
        from badges.exchange import Badges
        from badges.models import Badge
        from badges.services import follow_activity
        from badges.setup import create_default_badges
        from rewards.activity.followers import follow
        from rewards.exchange.kinds import register_kind
        from rewards.jobs.registry import Every, Job, register_job
        from rewards.management.defaults import register_defaults, register_demo
        from rewards.parameters.services import announce_change

        register_defaults("badges", create_default_badges)
        register_demo(make_demo)
        register_kind(Badges())
        register_job("check_badges", Job("Give badges and their bonuses to whoever has earned them.", Every(3_600)))
        follow(follow_activity)
        post_save.connect(announce_change, sender=Badge, dispatch_uid="badge_saved")
        post_delete.connect(announce_change, sender=Badge, dispatch_uid="badge_deleted")
