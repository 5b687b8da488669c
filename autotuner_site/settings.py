"""The settings, and the only reader of the environment. docs/settings.md lists them all."""

import contextlib
import os
import re
import secrets
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

BASE_DIR = Path(__file__).resolve().parent.parent


def envint(name: str, default: int, least: int = 1) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, str(default))
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise ImproperlyConfigured(f"{name}: {text!r} is not a whole number of {least} or more")
    return number


def envbool(name: str, default: bool) -> bool:
    """A yes or no from the environment."""
    text = os.environ.get(name, str(default)).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off", ""):
        return False
    raise ImproperlyConfigured(f"{name}: {text!r} is neither 1 nor 0")


def kept_secret(name: str) -> str:
    """A random secret, made at the first start and kept in the data folder."""
    path = DATA_DIR / name
    if not path.exists():
        # Written whole and then linked: a full disk leaves no empty one, and of two first
        # starts at once one wins.
        draft = DATA_DIR / f"{name}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


DATA_DIR = Path(os.environ.get("AUTOTUNER_DATA_DIR") or BASE_DIR / "data").resolve()
try:
    # Not for others: it holds sessions and logs
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    SECRET_KEY = os.environ.get("SECRET_KEY") or kept_secret("secret-key")
    REDIS_PASSWORD = kept_secret("redis-password")
except OSError as error:
    raise ImproperlyConfigured(
        f"AUTOTUNER_DATA_DIR: cannot write to {DATA_DIR} ({error.strerror}); "
        "free some space or choose another folder"
    ) from error

DEBUG = envbool("DEBUG", False)
# A local start (DEBUG not set) speaks plain HTTP; with DEBUG=0 the site expects TLS before it.
HTTPS = envbool("AUTOTUNER_HTTPS", "DEBUG" in os.environ and not DEBUG)
ALLOWED_HOSTS = [
    host.strip()
    for host in os.environ.get(
        "ALLOWED_HOSTS", f"localhost,127.0.0.1,[::1],{socket.gethostname()}"
    ).split(",")
    if host.strip()
]
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if host != "*"]

# ── GPUs and experiments ────────────────────────────────────────────────────────────────────
NODE = os.environ.get("AUTOTUNER_NODE") or socket.gethostname()
GPUPOOL_INVENTORY = os.environ.get("GPUPOOL_INVENTORY", "auto")
GPUPOOL_LEASE_TTL = envint("GPUPOOL_LEASE_TTL", 60, least=3)
MAX_PARALLEL_EXPERIMENTS = envint("MAX_PARALLEL_EXPERIMENTS", 8)
ENVIRONMENT = dict(os.environ)  # For our services whole, for engines without our secrets
# For ourselves only: numpy's threads would spin on the cores that engines are measured on
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
LOG_DIR = DATA_DIR / "logs"
# The program of each engine, for task files that name none. Empty: looked up on the PATH.
ENGINE_EXECUTABLES = {
    engine: os.environ.get(f"AUTOTUNER_{engine.upper()}_EXECUTABLE", "")
    for engine in ("vllm", "sglang", "llamacpp")
}

# ── Redis ───────────────────────────────────────────────────────────────────────────────────
REDIS_SOCKET = DATA_DIR / "redis" / "redis.sock"
EMBEDDED_REDIS = not os.environ.get("REDIS_URL")
if EMBEDDED_REDIS:
    if len(str(REDIS_SOCKET)) > 100:  # The kernel allows 107 characters.
        raise ImproperlyConfigured(
            f"AUTOTUNER_DATA_DIR: {DATA_DIR} is too long a path for a Unix socket; "
            "choose a shorter one or set REDIS_URL"
        )
    REDIS_URL = f"unix://:{REDIS_PASSWORD}@{quote(str(REDIS_SOCKET))}"
else:
    REDIS_URL = os.environ["REDIS_URL"]
    if not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(
            "REDIS_URL: must begin with redis://, rediss:// or unix://, "
            "like redis://:password@host:6379/0"
        )
# Celery has its own word for a Unix socket
CELERY_BROKER_URL = re.sub("^unix://", "redis+socket://", REDIS_URL)

# ── Celery: a doorbell; the database is the queue ───────────────────────────────────────────
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True  # run_experiment alone keeps its results
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = None
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 6 * 3600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_keepalive": True,
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "scheduler.db")
CELERY_BEAT_SCHEDULE = {
    "heal": {"task": "experiments.jobs.heal", "schedule": 5.0, "options": {"expires": 5.0}},
}
CELERY_TIMEZONE = "UTC"

# ── Django ──────────────────────────────────────────────────────────────────────────────────
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_celery_results",
    "experiments",
]
MIDDLEWARE = [
    "autotuner_site.content_policy.content_policy",  # First: it is for what the others answer, too
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "autotuner_site.urls"
ASGI_APPLICATION = "autotuner_site.asgi.application"
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
            ],
        },
    },
]
try:
    DATABASES = {
        "default": dj_database_url.parse(
            os.environ.get("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'autotuner.sqlite3'}",
            conn_health_checks=True,
        )
    }
except ValueError as error:
    raise ImproperlyConfigured(
        "DATABASE_URL: cannot be read; write it like postgres://user:password@host:5432/name"
    ) from error
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A worker must notice within seconds that a server has gone: it may have to stop an engine.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        connect_timeout=5,
        keepalives_idle=5,
        keepalives_interval=5,
        keepalives_count=2,
        tcp_user_timeout=5000,  # The others are for a connection on which nothing is under way
    )
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Readers beside one writer, nobody fails on a lock, and a commit survives a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "live", "group_expiry": 3600},
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
CSRF_FAILURE_VIEW = "experiments.error_pages.forged"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # Empty: WhiteNoise serves the files where they are
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True


def sidebar(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    """A link to a list of the admin, for those who may see it."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{model}"),
    }


UNFOLD = {
    "DASHBOARD_CALLBACK": "experiments.dashboard_admin.on_start_page",
    "SITE_TITLE": "Autotuner",
    "SITE_HEADER": "Autotuner",
    "SITE_SUBHEADER": "LLM inference tuning",
    "SITE_SYMBOL": "speed",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("experiments/icon.svg"),
        }
    ],
    "SITE_URL": None,  # There is no other site to return to
    "SHOW_HISTORY": False,  # The audit has it
    "STYLES": [
        lambda request: static("experiments/pages.css"),
        lambda request: static("experiments/charts.css"),
    ],
    "SCRIPTS": [
        lambda request: static("experiments/names.js"),
        lambda request: static("experiments/moments.js"),
        lambda request: static("experiments/copying.js"),
    ],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(66.5% .19 257.5)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    {
                        "title": "Dashboard",
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                        "permission": "experiments.dashboard_admin.may_open",
                    }
                ]
            },
            {
                "title": "Tuning",
                "items": [
                    sidebar("Tasks", "rocket_launch", "experiments", "tuningtask"),
                    sidebar("Experiments", "science", "experiments", "experiment"),
                    sidebar("Presets", "bookmarks", "experiments", "preset"),
                    sidebar("Job results", "receipt_long", "django_celery_results", "taskresult"),
                ],
            },
            {
                "title": "Resources",
                "items": [
                    {
                        "title": "GPUs",
                        "icon": "memory",
                        "link": reverse_lazy("gpus"),
                        "permission": lambda request: (
                            request.user.has_perm("experiments.view_pool")
                            or request.user.has_perm("experiments.operate_pool")
                        ),
                    },
                    sidebar("Audit", "history", "experiments", "auditentry"),
                ],
            },
            {
                "title": "People",
                "items": [
                    sidebar("Users", "person", "auth", "user"),
                    sidebar("Groups", "group", "auth", "group"),
                ],
            },
        ]
    },
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"experiments": {"level": "INFO"}, "gpupool": {"level": "INFO"}},
}

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 365 * 86400 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
X_FRAME_OPTIONS = "DENY"
PYTHON = sys.executable  # What our own services run on
