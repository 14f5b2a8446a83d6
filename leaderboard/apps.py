from django.apps import AppConfig


class LeaderboardConfig(AppConfig):
    name = "leaderboard"

    def ready(self) -> None:
        from leaderboard.demo import make_demo
        from leaderboard.exchange import Boards
        from leaderboard.participants import BoardSource
        from leaderboard.services import create_default_boards
        from rewards.campaigns.sources import register_source
        from rewards.exchange.kinds import register_kind
        from rewards.jobs.registry import Every, Job, register_job
        from rewards.management.defaults import register_defaults, register_demo

        register_defaults("boards", create_default_boards)
        register_demo(make_demo)
        register_kind(Boards())
        register_source("board", BoardSource())
        register_job("refresh_leaderboards", Job("Work out the leaderboards anew.", Every(900)))
