import pytest

from routers.checks import check_routing


def ids() -> set[str]:
    return {found.id for found in check_routing()}


@pytest.fixture
def changed(settings):
    """Change ROUTERS or one alias; the settings fixture puts it back."""

    def change(alias: str | None = None, **values):
        if alias is None:
            settings.ROUTERS = {**settings.ROUTERS, **values}
        else:
            settings.DATABASES = {**settings.DATABASES, alias: {**settings.DATABASES[alias], **values}}

    return change


class TestCheckRouting:
    def test_finds_nothing_in_the_project_s_own_settings(self):
        assert ids() == set()

    @pytest.mark.parametrize(
        ("values", "found"),
        [
            ({"NODE": ["pg1"]}, "routers.E001"),
            ({"PROFILE": "both"}, "routers.E001"),
            ({"NODES": ["pg1", "pg9"]}, "routers.E002"),
            ({"NODES": ["default"]}, "routers.E003"),
            ({"PROBE_TIMEOUT_SECONDS": 0}, "routers.E008"),
            ({"MAX_LAG_SECONDS": 0.1}, "routers.E009"),
            ({"NODES": []}, "routers.W001"),
        ],
    )
    def test_names_what_is_wrong_with_the_settings(self, changed, values, found):
        changed(**values)
        assert found in ids()

    @pytest.mark.parametrize(
        ("alias", "values", "found"),
        [
            ("default", {"ENGINE": "django.db.backends.postgresql"}, "routers.E004"),
            ("pg2", {"OPTIONS": {"pool": True}}, "routers.E005"),
            ("pg2", {"ATOMIC_REQUESTS": True}, "routers.E006"),
            ("pg2", {"OPTIONS": {}}, "routers.E007"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
    def test_names_what_is_wrong_with_an_alias(self, changed, alias, values, found):
        changed(alias, **values)
        assert found in ids()

    def test_misses_the_router_and_the_middleware(self, settings):
        settings.DATABASE_ROUTERS = []
        settings.MIDDLEWARE = []
        assert {"routers.E010", "routers.E011"} <= ids()

    def test_every_finding_has_a_hint(self, changed):
        changed(NODES=["default", "pg9"], READMIT_AFTER=0)
        assert all(found.hint for found in check_routing())
