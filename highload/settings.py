"""Settings from the environment, and from the file `highload.env` that set-up writes in the state directory.

A real environment variable wins over the file. No secret has a default. docs/reference/settings.md lists all.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from environs import Env, validate

from routers.conf import Profile, cluster_databases

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
STATE_DIR = Path(env.str("HIGHLOAD_STATE", str(BASE_DIR / "var"))).absolute()
env.read_env(str(STATE_DIR / "highload.env"), recurse=False)

# ── Serving ────────────────────────────────────────────────────────────────────────────────────────
DEBUG = env.bool("HIGHLOAD_DEBUG", False)
# Django refuses to use an empty key; set-up generates one.
SECRET_KEY = env.str("HIGHLOAD_SECRET_KEY", "")
ALLOWED_HOSTS = env.list("HIGHLOAD_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("HIGHLOAD_CSRF_TRUSTED_ORIGINS", [])
HTTPS = env.bool("HIGHLOAD_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000

ROOT_URLCONF = "highload.urls"
WSGI_APPLICATION = "highload.wsgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "routers",
    "users",
    "auth_api",
    "management",
]
MIDDLEWARE = [
    "users.api.middleware.ProblemDetailsMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "routers.middleware.RoutingMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
# Static files are few and belong to packages: served from where they are, with no collecting step.
WHITENOISE_USE_FINDERS = True

# ── Nodes and routing ──────────────────────────────────────────────────────────────────────────────
try:
    NODES: dict[str, str] = env.dict("HIGHLOAD_NODES", {})
except ValueError as error:
    raise ValueError(f"HIGHLOAD_NODES: {env.str('HIGHLOAD_NODES')!r} is not NAME=HOST:PORT,NAME=HOST:PORT") from error
PROFILE = env.str("HIGHLOAD_PROFILE", Profile.REPLICATION.value, validate=validate.OneOf([*Profile]))


def _address(node: str) -> dict[str, str]:
    host, colon, port = node.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"HIGHLOAD_NODES: {node!r} is not HOST:PORT")
    return {"HOST": host.strip("[]"), "PORT": port}


DATABASES: dict[str, dict[str, Any]] = cluster_databases(
    nodes={alias: _address(node) for alias, node in NODES.items()},
    common={
        "NAME": env.str("HIGHLOAD_DB_NAME", "highload"),
        "USER": env.str("HIGHLOAD_DB_USER", "highload"),
        "PASSWORD": env.str("HIGHLOAD_DB_PASSWORD", ""),
    },
)
DATABASE_ROUTERS = ["routers.router.PrimaryReplicaRouter"]
ROUTERS = {
    "NODES": list(NODES),
    "PROFILE": PROFILE,
    "PROBE_USER": env.str("HIGHLOAD_MONITOR_USER", ""),
    "PROBE_PASSWORD": env.str("HIGHLOAD_MONITOR_PASSWORD", ""),
    "PROBE_DATABASE": env.str("HIGHLOAD_MONITOR_DB_NAME", "postgres"),
    "PROBE_INTERVAL_SECONDS": env.float("HIGHLOAD_PROBE_INTERVAL_SECONDS", 0.2),
    "PROBE_TIMEOUT_SECONDS": env.float("HIGHLOAD_PROBE_TIMEOUT_SECONDS", 0.5),
    "MAX_LAG_BYTES": env.int("HIGHLOAD_MAX_LAG_BYTES", 64 * 1024 * 1024),
    "MAX_LAG_SECONDS": env.float("HIGHLOAD_MAX_LAG_SECONDS", 5.0),
    "CONSISTENCY_TOKENS": env.bool("HIGHLOAD_CONSISTENCY_TOKENS", True),
    "TOKEN_COOKIE_SECURE": HTTPS,
    "MAX_WAIT_SECONDS": env.float("HIGHLOAD_MAX_WAIT_SECONDS", 0.1),
    "PRIMARY_READS_PER_SECOND": env.float("HIGHLOAD_PRIMARY_READS_PER_SECOND", 200.0),
    "SERVER_TIMING": env.bool("HIGHLOAD_SERVER_TIMING", False),
    "HISTORY_FILE": env.str("HIGHLOAD_HISTORY_FILE", str(STATE_DIR / "history.json") if STATE_DIR.is_dir() else ""),
    "SYSTEM_IDENTIFIER": env.int("HIGHLOAD_SYSTEM_IDENTIFIER", None),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PROMETHEUS_EXPORT_MIGRATIONS = False
# As many as django-prometheus has by itself, but its first is 10 ms: above what most reads take.
PROMETHEUS_LATENCY_BUCKETS = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    float("inf"),
)

# ── People, passwords, tokens ──────────────────────────────────────────────────────────────────────
AUTH_USER_MODEL = "users.User"
PASSWORD_HASHERS = ["auth_api.hashers.OwaspArgon2idHasher"]
# OWASP Password Storage Cheat Sheet, Argon2id: m=19456 KiB (19 MiB), t=2, p=1.
PASSWORD_ARGON2_MEMORY_KIB = env.int("HIGHLOAD_ARGON2_MEMORY_KIB", 19_456)
PASSWORD_ARGON2_TIME_COST = env.int("HIGHLOAD_ARGON2_TIME_COST", 2)
PASSWORD_ARGON2_PARALLELISM = env.int("HIGHLOAD_ARGON2_PARALLELISM", 1)
PASSWORD_MIN_LENGTH = 8
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": PASSWORD_MIN_LENGTH},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=env.int("HIGHLOAD_TOKEN_LIFETIME_SECONDS", 3600)),
    "USER_ID_CLAIM": "sub",
    # Clocks of several application hosts differ.
    "LEEWAY": timedelta(minutes=3),
}

# ── HTTP interface ─────────────────────────────────────────────────────────────────────────────────
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("HIGHLOAD_MAX_BODY_BYTES", 64 * 1024)
THROTTLING = env.bool("HIGHLOAD_THROTTLING", True)
THROTTLE_RATES = {
    "login_address": env.str("HIGHLOAD_LOGIN_RATE_PER_ADDRESS", "60/min"),
    "login_account": env.str("HIGHLOAD_LOGIN_RATE_PER_ACCOUNT", "10/min"),
    "register_address": env.str("HIGHLOAD_REGISTER_RATE_PER_ADDRESS", "20/min"),
    "register_account": env.str("HIGHLOAD_REGISTER_RATE_PER_ACCOUNT", "5/min"),
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["users.api.parsers.NestingSafeJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_RATES": THROTTLE_RATES,
    "EXCEPTION_HANDLER": "users.api.problems.problem_handler",
    # 0: the peer's own address. X-Forwarded-For is believed only from this many proxies.
    "NUM_PROXIES": env.int("HIGHLOAD_TRUSTED_PROXIES", 0),
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Highload",
    "DESCRIPTION": "People of a social network: registration, login, profiles, search.",
    "VERSION": "0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
# Throttles count across the worker processes of one host, so the cache is on disk, not in a process.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(STATE_DIR / "cache"),
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {
        "handlers": ["stderr"],
        "level": env.str("HIGHLOAD_LOG_LEVEL", "WARNING", validate=validate.OneOf(_LEVELS)),
    },
    # Refusals are answers, not events: the access log has them.
    "loggers": {"django.request": {"level": "ERROR"}},
}
