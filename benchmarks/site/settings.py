from rewards_site.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.site.urls"
