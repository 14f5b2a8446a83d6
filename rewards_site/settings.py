"""Settings, all from the environment (12-factor, or a `.env` file beside manage.py). Safe by default.

`REWARDS_ENVIRONMENT` is `production` unless it says `development` or `test`. Production refuses to start with DEBUG, a
weak secret, SQLite or a broker that is not one.
"""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import environ
from django.core.exceptions import ImproperlyConfigured

from rewards.common.hidden import Hidden

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

ENVIRONMENT = env.str("REWARDS_ENVIRONMENT", "production")
if ENVIRONMENT not in ("production", "development", "test"):
    raise ImproperlyConfigured("REWARDS_ENVIRONMENT must be production, development or test.")
IN_PRODUCTION = ENVIRONMENT == "production"

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# ------------------------------------------------------------------------------------------------------ applications

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_htmx",
    "simple_history",
    "rewards",
    "badges",
    "leaderboard",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "rewards_site.urls"
WSGI_APPLICATION = "rewards_site.wsgi.application"
AUTH_USER_MODEL = "rewards.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "rewards_site.pages.shared.menu",
            ],
        },
    },
]

# --------------------------------------------------------------------------------------------------------- databases


def database(url_variable: str, default: str | None = None) -> dict:
    """A Django database from a URL in the environment, with the options the engine needs to be safe."""
    settings = env.db_url(url_variable, default=default) if default else env.db_url(url_variable)
    if settings["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once when another one writes.
        settings["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; "
            "PRAGMA recursive_triggers=ON;",
        }
    elif settings["ENGINE"].endswith("mysql"):
        import pymysql

        pymysql.install_as_MySQLdb()
    settings.setdefault("CONN_MAX_AGE", env.int("DATABASE_CONN_MAX_AGE", 60))
    settings["CONN_HEALTH_CHECKS"] = True
    return settings


DATABASES = {"default": database("DATABASE_URL")}
if env.str("PARTNER_DATABASE_URL", ""):
    DATABASES["partner"] = database("PARTNER_DATABASE_URL")
DATABASE_ROUTERS = ["rewards_site.routers.PartnerRouter"]

# ---------------------------------------------------------------------------------------------------- time, language

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# The zone of days, months, boards and limits. Hours are UTC.
_zone_name = env.str("REWARDS_TIME_ZONE", "UTC")
if _zone_name not in available_timezones():
    raise ImproperlyConfigured(f"REWARDS_TIME_ZONE={_zone_name!r} is not a time zone such as Europe/Berlin.")
REWARDS_TIME_ZONE = ZoneInfo(_zone_name)

# ------------------------------------------------------------------------------------------------------------- files

STATIC_URL = "static/"
STATIC_ROOT = env.path("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
STATICFILES_DIRS = [path for path in [BASE_DIR / "templates" / "static"] if path.exists()]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if ENVIRONMENT == "test"
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --------------------------------------------------------------------------------------------------------- passwords

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "rewards.access.passwords.TokensEndWithThePassword"},
]
LOGIN_URL = "pages:login"  # the back-office has its own
LOGIN_REDIRECT_URL = "home"

# -------------------------------------------------------------------------------------------------------------- jobs

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", "memory://" if ENVIRONMENT == "test" else "")
_broker = CELERY_BROKER_URL.partition("://")[0]
if _broker in ("redis", "rediss"):
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {"visibility_timeout": 3600}
elif _broker == "amqp":
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
elif _broker == "filesystem":
    _queue = env.path("CELERY_FILESYSTEM_FOLDER", default=str(BASE_DIR / ".dev" / "queue"))
    for _folder in ("messages", "control"):
        Path(_queue(_folder)).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": _queue("messages"),
        "data_folder_out": _queue("messages"),
        "control_folder": _queue("control"),
        "store_processed": False,
        "polling_interval": 0.05,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # no results are kept: the scheduler needs no task that deletes them
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 90
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 3, "interval_max": 1}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 500
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_ENABLE_UTC = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SYNC_EVERY = 1
DJANGO_CELERY_BEAT_TZ_AWARE = True

# ------------------------------------------------------------------------------------------------------------- cache


def cache() -> dict:
    """Where calls of the API are counted: CACHE_URL, else the broker's Redis, else files beside its folder.

    Without any of them each process counts for itself.
    """
    if env.str("CACHE_URL", ""):
        settings = env.cache_url("CACHE_URL")
    elif _broker in ("redis", "rediss"):
        settings = env.cache_url_config(CELERY_BROKER_URL)
    elif _broker == "filesystem":
        settings = {
            "BACKEND": "rewards_site.cache.CountingFileCache",
            "LOCATION": _queue("cache"),
            "OPTIONS": {"MAX_ENTRIES": 10_000},
        }
    else:
        settings = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    if settings["BACKEND"].endswith("RedisCache"):
        # Counting a call is not worth waiting for.
        timeouts = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
        settings["OPTIONS"] = timeouts | settings.get("OPTIONS", {})
    return {"KEY_PREFIX": "rewards"} | settings


CACHES = {"default": cache()}

# --------------------------------------------------------------------------------------------------------- interface

# ApiView (rewards/api/views.py) says the rest; these hold for views that are none, such as the schema.
REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "rewards.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "rewards.api.schema.Schema",
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rewards.api.parsers.StrictJSONParser"],
    "FORMAT_SUFFIX_KWARG": None,
    "NUM_PROXIES": env.int("NUM_PROXIES", 0),  # how many proxies of ours a request passes
}
# Ten thousand events of activity in one request; each view sets its own limit below.
DATA_UPLOAD_MAX_MEMORY_SIZE = 12_000_000
SPECTACULAR_SETTINGS = {
    "TITLE": "Rewards",
    "DESCRIPTION": "A rewards engine: activity in, exact payouts out.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["rewards.api.schema.each_path_once"],
    # Several things have a status.
    "ENUM_NAME_OVERRIDES": {
        "AuditStatus": ["success", "failed"],
        "CampaignStatus": "rewards.campaigns.models.Campaign.Status",
        "CaseSide": "rewards.cases.models.Side",
        "CaseStatus": "rewards.cases.models.Case.Status",
        "DeploymentStatus": "rewards.deployments.models.Deployment.Status",
        "DistributionStatus": "rewards.distributions.models.Distribution.Status",
        "MonthlyJobStatus": "rewards.monthly.models.MonthlyRewardJob.Status",
        "NewCampaignStatus": ["draft", "active"],
        "PublicCaseStatus": ["active", "closed", "void"],
        "ReplicaStatus": "rewards.deployments.models.Replica.Status",
        "RewardStatus": "rewards.distributions.models.Reward.Status",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

SIMPLE_HISTORY_REVERT_DISABLED = True
SIMPLE_HISTORY_ENFORCE_HISTORY_MODEL_PERMISSIONS = True
SIMPLE_HISTORY_HISTORY_CHANGE_REASON_USE_TEXT_FIELD = True

# ---------------------------------------------------------------------------------------------------------- security

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
if IN_PRODUCTION:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz/?$", r"^readyz/?$"]
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    if env.bool("BEHIND_TLS_PROXY", False):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# ------------------------------------------------------------------------------------------------------------- chain

# docs/chain.md. The address of a node often has a key in it.
CHAIN_BACKEND = env.str("CHAIN_BACKEND", "local")
CHAIN_RPC_URL = Hidden(env.str("CHAIN_RPC_URL", ""))
CHAIN_PRIVATE_KEY = Hidden(env.str("CHAIN_PRIVATE_KEY", ""))
if CHAIN_BACKEND not in ("local", "evm"):
    raise ImproperlyConfigured("CHAIN_BACKEND must be local or evm.")
if CHAIN_BACKEND == "evm" and not (CHAIN_RPC_URL and CHAIN_PRIVATE_KEY):
    raise ImproperlyConfigured("CHAIN_BACKEND=evm needs CHAIN_RPC_URL and CHAIN_PRIVATE_KEY.")

# ------------------------------------------------------------------------------------------------------------- cases

# docs/cases.md. Who writes cases: the dilemmas that ship with the product, or a language model.
CASE_GENERATOR = env.str("CASE_GENERATOR", "builtin")
CASE_AI_BASE_URL = env.str("CASE_AI_BASE_URL", "")
CASE_AI_KEY = Hidden(env.str("CASE_AI_KEY", ""))
CASE_AI_MODEL = env.str("CASE_AI_MODEL", "")
CASE_AI_TIMEOUT_SECONDS = env.float("CASE_AI_TIMEOUT_SECONDS", 20.0)  # for one of three tries; a task has 90
if CASE_GENERATOR not in ("builtin", "openai"):
    raise ImproperlyConfigured("CASE_GENERATOR must be builtin or openai.")
if CASE_GENERATOR == "openai" and not (CASE_AI_BASE_URL and CASE_AI_MODEL):
    raise ImproperlyConfigured("CASE_GENERATOR=openai needs CASE_AI_BASE_URL and CASE_AI_MODEL.")
if not 0 < CASE_AI_TIMEOUT_SECONDS <= 25:
    raise ImproperlyConfigured("CASE_AI_TIMEOUT_SECONDS must be above 0 and at most 25.")

# -------------------------------------------------------------------------------------------------------------- mail

EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
globals().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("FROM_EMAIL", "rewards@localhost")
ADMINS = [("", address) for address in env.list("ADMINS", default=[])]

# -------------------------------------------------------------------------------------------------------------- logs

LOG_FORMAT = env.str("LOG_FORMAT", "json" if IN_PRODUCTION else "text")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",  # ISO 8601, UTC
        },
        "text": {
            "()": "rewards.common.logs.OneLineFormatter",
            "format": "%(asctime)s %(levelname)-8s %(name)s: %(message)s",
            "datefmt": "%H:%M:%S",
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    # Each poke would be three lines; what a job did is logged by the job.
    # The clients of the chain's node would log its address, which may have a key in it.
    "loggers": {
        "celery": {"level": env.str("CELERY_LOG_LEVEL", "WARNING")},
        "urllib3": {"level": "WARNING"},
        "web3": {"level": "WARNING"},
    },
}

# ------------------------------------------------------------------------------------------------------------- admin

# Times as operators write them: 2026-11-21 07:30:00.
FORMAT_MODULE_PATH = ["rewards_site.formats"]

UNFOLD = {
    "SITE_TITLE": "Rewards",
    "SITE_HEADER": "Rewards",
    "SITE_SYMBOL": "redeem",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "rewards_site.admin.favicon"}],
    "STYLES": ["rewards_site.admin.stylesheet"],
    "SCRIPTS": ["rewards_site.admin.icons_script"],
    "LOGIN": {"form": "rewards_site.pages.signing_in.StaffSignInForm"},
    "ENVIRONMENT": "rewards_site.admin.environment",
    "DASHBOARD_CALLBACK": "rewards_site.dashboard.dashboard",
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"navigation": "rewards_site.admin.navigation"},
    "COLORS": {
        "primary": {
            "50": "#eff6ff",
            "100": "#dbeafe",
            "200": "#bfdbfe",
            "300": "#93c5fd",
            "400": "#60a5fa",
            "500": "#3b82f6",
            "600": "#2563eb",
            "700": "#1d4ed8",
            "800": "#1e40af",
            "900": "#1e3a8a",
            "950": "#172554",
        },
    },
}

# ------------------------------------------------------------------------------------------- refuse to start unsafely


def refuse_unsafe_production() -> None:
    problems = []
    if DEBUG:
        problems.append("DEBUG must be off")
    if len(SECRET_KEY) < 50 or SECRET_KEY.startswith("django-insecure"):
        problems.append("SECRET_KEY must be a random text of 50 or more characters")
    if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        problems.append("DATABASE_URL must name a PostgreSQL database")
    if _broker in ("", "memory", "filesystem"):
        problems.append("CELERY_BROKER_URL must name RabbitMQ (amqp://…) or Redis (redis://…)")
    if not ALLOWED_HOSTS:
        problems.append("ALLOWED_HOSTS must list the host names")
    if problems:
        raise ImproperlyConfigured(f"Refusing to start in production: {'; '.join(problems)}.")


if IN_PRODUCTION:
    refuse_unsafe_production()
elif not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is not set. `python3 dev.py manage …` sets up everything needed.")
