import re
import textwrap
from typing import Any

import pytest
from django.core.cache.backends.db import DatabaseCache
from django.core.checks import ERROR, WARNING
from django.middleware.cache import UpdateCacheMiddleware

from management.state import PROJECT_DIR
from routers.checks import check_routing
from routers.middleware import RoutingMiddleware
from routers.router import PrimaryReplicaRouter

pytestmark = pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")

ROUTER = "routers.router.PrimaryReplicaRouter"
ROUTING = "routers.middleware.RoutingMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
READ_ONLY = {"connect_timeout": 2, "options": "-c default_transaction_read_only=on"}


def howto_settings() -> dict[str, Any]:
    """What `docs/howto/adopt-the-router.md` tells a team to write."""
    page = (PROJECT_DIR / "docs/howto/adopt-the-router.md").read_text()
    block = re.search(r"^ +from routers\.conf import.*?^ +ROUTERS = .*?$", page, re.MULTILINE | re.DOTALL)
    written: dict[str, Any] = {"env": lambda name: "secret"}
    exec(textwrap.dedent(block[0]), written)
    return {name: value for name, value in written.items() if name.isupper()}


def shown(value) -> str:
    """The same in every worker: without the addresses of objects."""
    return re.sub(r" object at 0x\w+", "", str(value))[:80]


def findings() -> list[str]:
    return sorted(found.id for found in check_routing())


@pytest.fixture
def project(settings):
    """A project that adopts the router as the howto says. Call it with what to change; dictionaries are merged."""
    adopted = {
        **howto_settings(),
        # Those of `django-admin startproject`.
        "MIDDLEWARE": [
            ROUTING,
            "django.middleware.security.SecurityMiddleware",
            SESSION,
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        "SESSION_COOKIE_SECURE": False,
    }

    def change(**changes):
        for name, value in adopted.items():
            setattr(settings, name, value)
        for name, value in changes.items():
            if name in adopted["DATABASES"]:
                settings.DATABASES = {**settings.DATABASES, name: {**settings.DATABASES[name], **value}}
            elif isinstance(value, dict):
                setattr(settings, name, {**adopted.get(name, {}), **value})
            else:
                setattr(settings, name, value)

    return change


class AnalyticsRouter:
    def db_for_read(self, model, **hints):
        return None


class NoMigrationsRouter:
    def allow_migrate(self, db, app_label, **hints):
        return None


class OwnRouter(PrimaryReplicaRouter):
    pass


class OwnRouting(RoutingMiddleware):
    pass


class OwnCaching(UpdateCacheMiddleware):
    pass


class OwnCache(DatabaseCache):
    pass


# Each changes the adopting project, and all that is wrong with it then is named.
WRONG_VALUES = [
    ("routers.E001", {"NODE": ["pg1"]}),
    ("routers.E001", {"PROFILE": "both"}),
    ("routers.E002", {"NODES": ["pg1", "pg2", "pg9"]}),
    ("routers.E003", {"NODES": ["default", "pg1", "pg2"]}),
    ("routers.E008", {"PROBE_INTERVAL_SECONDS": -1}),
    ("routers.E008", {"PROBE_TIMEOUT_SECONDS": 0}),
    ("routers.E008", {"PROBE_TIMEOUT_SECONDS": float("inf")}),
    ("routers.E008", {"MAX_LAG_BYTES": 0}),
    ("routers.E008", {"MAX_LAG_SECONDS": float("nan")}),
    ("routers.E008", {"READMIT_AFTER": 0}),
    ("routers.E008", {"PRIMARY_READS_PER_SECOND": 0}),
    ("routers.E008", {"SYSTEM_IDENTIFIER": 0}),
    ("routers.E008", {"MAX_WAIT_SECONDS": -0.1}),
    ("routers.E008", {"MAX_WAIT_SECONDS": float("nan")}),
    ("routers.E009", {"MAX_LAG_SECONDS": 0.15}),
    ("routers.E012", {"NODES": "pg1"}),
    ("routers.E012", {"NODES": [1, 2]}),
    ("routers.E012", {"PRIMARY_APPS": "sessions"}),
    ("routers.E012", {"CONSISTENCY_TOKENS": "false"}),
    ("routers.E012", {"MAX_LAG_SECONDS": "5"}),
    ("routers.E012", {"READMIT_AFTER": 1.5}),
    ("routers.E012", {"MAX_LAG_BYTES": True}),
    ("routers.E012", {"SYSTEM_IDENTIFIER": "7311"}),
    ("routers.E012", {"TOKEN_COOKIE": True}),
    ("routers.E012", {"HISTORY_FILE": 1}),
    ("routers.E023", {"TOKEN_COOKIE": "sessionid"}),
    ("routers.E023", {"TOKEN_COOKIE": "csrftoken"}),
    ("routers.E023", {"TOKEN_COOKIE": "django_language"}),
    ("routers.E024", {"TOKEN_COOKIE": "consistency token"}),
    ("routers.E024", {"TOKEN_COOKIE": "path"}),
    ("routers.E025", {"TOKEN_COOKIE": "__Host-token"}),
    ("routers.E026", {"PRIMARY_APPS": ["sessions", "shop.orders"]}),
    ("routers.W003", {"CONSISTENCY_TOKENS": False}),
    ("routers.W004", {"NODES": ["pg1"], "PROFILE": "observe"}),
    ("routers.W016", {"MAX_WAIT_SECONDS": 6}),
    ("routers.W017", {"PROBE_USER": "prober"}),
    ("routers.W017", {"PROBE_PASSWORD": "other"}),
    ("routers.W018", {"HISTORY_FILE": "history.json"}),
    ("routers.W018", {"HISTORY_FILE": "/nowhere/history.json"}),
    ("routers.W018", {"HISTORY_FILE": "/tmp"}),
]
WRONG_ALIASES = [
    ("routers.E004", {"default": {"ENGINE": "django.db.backends.postgresql"}}),
    ("routers.E004", {"pg2": {"ENGINE": "django.db.backends.postgresql"}}),
    ("routers.E005", {"pg2": {"OPTIONS": {**READ_ONLY, "pool": True}}}),
    ("routers.E005", {"default": {"OPTIONS": {"connect_timeout": 2, "pool": True}}}),
    ("routers.E006", {"pg2": {"ATOMIC_REQUESTS": True}}),
    ("routers.E007", {"pg2": {"OPTIONS": {"connect_timeout": 2}}}),
    ("routers.E013", {"pg2": {"HOST": "10.0.0.1"}}),
    ("routers.E014", {"pg2": {"NAME": "shop_replica"}}),
    ("routers.E015", {"pg2": {"HOST": "10.0.0.2,10.0.0.3"}}),
    ("routers.E015", {"pg2": {"OPTIONS": {**READ_ONLY, "target_session_attrs": "read-write"}}}),
    ("routers.E015", {"default": {"OPTIONS": {"connect_timeout": 2, "hostaddr": "10.0.0.1"}}}),
    ("routers.E015", {"pg2": {"HOST": "", "OPTIONS": {**READ_ONLY, "service": "shop"}}}),
    ("routers.E016", {"default": {"OPTIONS": READ_ONLY}}),
    ("routers.E017", {"default": {"AUTOCOMMIT": False}}),
    ("routers.E017", {"pg2": {"AUTOCOMMIT": False}}),
    (
        "routers.E018",
        {
            "pg2": {
                "OPTIONS": {
                    **READ_ONLY,
                    "options": f"{READ_ONLY['options']} -c default_transaction_isolation=serializable",
                }
            }
        },
    ),
    ("routers.W005", {"default": {"ATOMIC_REQUESTS": True}}),
    ("routers.W006", {"pg2": {"CONN_MAX_AGE": 0}}),
    ("routers.W007", {"pg2": {"CONN_HEALTH_CHECKS": True}}),
    ("routers.W008", {"pg2": {"OPTIONS": {"options": READ_ONLY["options"]}}}),
    ("routers.W009", {"pg2": {"TEST": {}}}),
]
WRONG_WIRING = [
    ("routers.E010", {"DATABASE_ROUTERS": []}),
    ("routers.E010", {"DATABASE_ROUTERS": [], "ROUTERS": {"PROFILE": "observe"}}),
    ("routers.E011", {"MIDDLEWARE": [SESSION]}),
    ("routers.E012", {"ROUTERS": [ROUTER]}),
    ("routers.E020", {"DATABASE_ROUTERS": [ROUTER, AnalyticsRouter()]}),
    ("routers.E020", {"DATABASE_ROUTERS": [ROUTER, ROUTER]}),
    ("routers.E021", {"MIDDLEWARE": ["django.middleware.cache.UpdateCacheMiddleware", ROUTING]}),
    ("routers.E021", {"MIDDLEWARE": ["routers.tests.test_checks.OwnCaching", ROUTING]}),
    ("routers.E022 routers.W003", {"ROUTERS": {"PRIMARY_APPS": [], "CONSISTENCY_TOKENS": False}}),
    ("routers.E022 routers.W011", {"ROUTERS": {"PRIMARY_APPS": []}, "MIDDLEWARE": [SESSION, ROUTING]}),
    ("routers.W001 routers.W004", {"ROUTERS": {"NODES": []}}),
    ("routers.W002 routers.W004", {"ROUTERS": {"NODES": ["pg1"]}}),
    ("routers.W010", {"MIDDLEWARE": [ROUTING, SESSION, ROUTING]}),
    ("routers.W011", {"MIDDLEWARE": [SESSION, ROUTING]}),
    ("routers.W011", {"MIDDLEWARE": ["django.contrib.redirects.middleware.RedirectFallbackMiddleware", ROUTING]}),
    ("routers.W012", {"SESSION_SAVE_EVERY_REQUEST": True}),
    ("routers.W013", {"CACHES": {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"}}}),
    ("routers.W013", {"CACHES": {"pages": {"BACKEND": "routers.tests.test_checks.OwnCache", "LOCATION": "pages"}}}),
    ("routers.W014", {"SESSION_COOKIE_SECURE": True}),
    ("routers.W015", {"MIDDLEWARE": [CORS, ROUTING]}),
    (
        "routers.W015",
        {"MIDDLEWARE": [CORS, ROUTING], "CORS_ALLOW_CREDENTIALS": True, "ROUTERS": {"TOKEN_COOKIE": ""}},
    ),
]
WRONG = [*((code, {"ROUTERS": values}) for code, values in WRONG_VALUES), *WRONG_ALIASES, *WRONG_WIRING]
RIGHT = [
    {"ROUTERS": {"MAX_WAIT_SECONDS": 0, "MAX_LAG_SECONDS": 1, "HISTORY_FILE": PROJECT_DIR / "history.json"}},
    {"ROUTERS": {"NODES": ("pg1", "pg2"), "CONSISTENCY_TOKENS": 1, "SYSTEM_IDENTIFIER": None, "PROBE_USER": None}},
    {"ROUTERS": {"PRIMARY_APPS": ["users", "django_cache"]}},
    {"ROUTERS": {"PROBE_USER": "prober", "PROBE_PASSWORD": "secret"}},
    {"ROUTERS": {"TOKEN_COOKIE": "__Host-token", "TOKEN_COOKIE_SECURE": True}, "SESSION_COOKIE_SECURE": True},
    {"ROUTERS": {"TOKEN_COOKIE": ""}, "SESSION_COOKIE_SECURE": True},
    {"ROUTERS": {"PROFILE": "master-only"}, "MIDDLEWARE": [SESSION], "DATABASE_ROUTERS": []},
    {"ROUTERS": {"PROFILE": "master-only"}, "default": {"ATOMIC_REQUESTS": True}},
    {"ROUTERS": {"PROFILE": "observe", "CONSISTENCY_TOKENS": False}},
    {"DATABASE_ROUTERS": [AnalyticsRouter(), OwnRouter(), NoMigrationsRouter()]},
    {"MIDDLEWARE": ["routers.tests.test_checks.OwnRouting", SESSION]},
    {"MIDDLEWARE": ["django.middleware.security.SecurityMiddleware", ROUTING, SESSION]},
    {"MIDDLEWARE": ["django.contrib.auth.middleware.AuthenticationMiddleware", ROUTING]},
    {
        "MIDDLEWARE": [SESSION, ROUTING],
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "SESSION_SAVE_EVERY_REQUEST": True,
    },
    {"MIDDLEWARE": [CORS, ROUTING], "CORS_ALLOW_CREDENTIALS": True},
    {
        "MIDDLEWARE": [CORS, ROUTING],
        "CORS_ALLOW_HEADERS": ["consistency-token"],
        "CORS_EXPOSE_HEADERS": ["Consistency-Token"],
    },
    {"pg1": {"HOST": "db"}, "pg2": {"HOST": "db", "PORT": "5433"}},
]


class TestCheckRouting:
    def test_finds_nothing_in_the_project_s_own_settings(self):
        assert findings() == []

    def test_finds_nothing_in_a_project_that_adopts_the_router_as_the_howto_says(self, project):
        project()
        assert findings() == []

    @pytest.mark.parametrize(("codes", "changes"), WRONG, ids=shown)
    def test_finds(self, project, codes, changes):
        project(**changes)
        assert set(findings()) == set(codes.split())

    @pytest.mark.parametrize("changes", RIGHT, ids=shown)
    def test_finds_nothing(self, project, changes):
        project(**changes)
        assert findings() == []

    @pytest.mark.parametrize("alias", ["реплика", "a" * 65, "pg\n2"])
    def test_finds_an_alias_that_no_token_can_carry(self, project, settings, alias):
        project()
        settings.DATABASES = {"default": settings.DATABASES["default"], alias: settings.DATABASES["pg2"]}
        settings.ROUTERS = {"NODES": [alias], "PROFILE": "master-only"}
        assert findings() == ["routers.E019"]

    def test_finds_that_default_is_missing(self, project, settings):
        project()
        settings.DATABASES = {"pg1": settings.DATABASES["pg1"], "pg2": settings.DATABASES["pg2"]}
        assert "routers.E004" in findings()

    def test_does_not_show_a_password(self, project):
        project(ROUTERS={"PROBE_PASSWORD": 20_071_861})
        assert [found.id for found in check_routing() if "20071861" not in str(found)] == ["routers.E012"]


class TestEachFinding:
    @pytest.mark.parametrize(("codes", "changes"), WRONG, ids=shown)
    def test_says_what_to_do_and_how_grave_it_is(self, project, codes, changes):
        project(**changes)
        for found in check_routing():
            assert found.hint
            assert found.level == (ERROR if found.id.startswith("routers.E") else WARNING)

    def test_is_in_the_reference_and_has_a_test(self):
        listed = re.findall(
            r"^\| `(routers\.[EW]\d{3})` \|", (PROJECT_DIR / "docs/reference/checks.md").read_text(), re.M
        )
        made = {
            code
            for path in (PROJECT_DIR / "routers/checks").glob("*.py")
            for code in re.findall(r'"(routers\.[EW]\d{3})"', path.read_text())
        }
        assert listed == sorted(made)
        assert made == {code for codes, _ in WRONG for code in codes.split()} | {"routers.E019"}
