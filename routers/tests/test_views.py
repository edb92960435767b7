import pytest

from routers import health
from routers.node import Condition
from routers.tests.factories import topology

GOOD, LAGGING, DOWN = Condition.GOOD, Condition.LAGGING, Condition.UNREACHABLE


class TestHealthz:
    def test_is_ok_whatever_the_database_does(self, client):
        assert client.get("/healthz").json() == {"status": "ok"}


class TestReadyz:
    @pytest.mark.parametrize(
        ("conditions", "primary", "shown"),
        [
            ({"pg1": GOOD, "pg2": GOOD}, "pg1", (200, True, True)),
            ({"pg1": GOOD, "pg2": DOWN}, "pg1", (200, True, True)),
            ({"pg1": DOWN, "pg2": LAGGING}, None, (200, True, False)),
            ({"pg1": DOWN, "pg2": DOWN}, None, (503, False, False)),
        ],
    )
    def test_says_what_can_be_served(self, client, monkeypatch, conditions, primary, shown):
        monkeypatch.setattr(health, "topology", lambda: topology(conditions, primary=primary))
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["reads"], answer.json()["writes"]) == shown
        assert list(answer.json()["nodes"]) == ["pg1", "pg2"]
