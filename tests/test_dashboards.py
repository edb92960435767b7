"""Every dashboard can be loaded, and each of its expressions finds data in the Prometheus of a real system."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
import yaml

from management.state import PROJECT_DIR

pytestmark = pytest.mark.once

GRAFANA = PROJECT_DIR / "deploy" / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("dashboards/*.json"))}
# As Grafana derives it: four times the interval at which a local Prometheus scrapes.
VARIABLES = {"$__rate_interval": "4s", "$__interval": "1s", "$__range": "60s"}


@dataclass(frozen=True)
class Query:
    """One expression of a dashboard."""

    place: str
    expression: str
    legend: str


def queries() -> list[Query]:
    found = []
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                found.append(Query(f"{name}: {panel['title']}", target["expr"], target["legendFormat"]))
        for annotation in dashboard["annotations"]["list"]:
            found.append(Query(f"{name}: {annotation['name']}", annotation["expr"], annotation["titleFormat"]))
    return found


def variables(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return dashboard["templating"]["list"]


def replaced(expression: str) -> str:
    """With all variables filled in, as for "All"."""
    values = dict(VARIABLES)
    for dashboard in DASHBOARDS.values():
        values |= {f"${variable['name']}": variable["allValue"] for variable in variables(dashboard)}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def with_data(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that have at least one number. NaN is drawn as nothing."""
    return [each for each in series if any(not math.isnan(float(value)) for _, value in each["values"])]


class TestExpressions:
    @pytest.mark.parametrize("query", queries(), ids=lambda query: query.place)
    def test_finds_data(self, monitored, query):
        series = with_data(monitored.saw(replaced(query.expression)))
        assert series
        labels = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
        assert all(labels <= set(each["metric"]) for each in series)

    @pytest.mark.parametrize("name", [name for name in DASHBOARDS if variables(DASHBOARDS[name])])
    def test_every_variable_has_values(self, monitored, name):
        for variable in variables(DASHBOARDS[name]):
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert monitored.prometheus.label_values(match[1], match[2])

    def test_a_misspelt_metric_is_caught(self, monitored):
        assert not with_data(monitored.saw("sum by (alias) (rate(routers_decision_total[4s]))"))
        assert not with_data(monitored.saw('highload_node_in_recovery{nodes="pg1"}'))
        assert not with_data(monitored.saw("0 * routers_timeline / 0"))


class TestFiles:
    def test_uids_are_unique(self):
        uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
        assert len(uids) == len(set(uids)) == 5

    def test_the_provider_reads_the_directory_of_the_dashboards(self):
        (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/highload.yml").read_text())["providers"]
        assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
class TestEachDashboard:
    def test_asks_the_provisioned_data_source(self, dashboard):
        (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
        panels = dashboard["panels"]
        asking = [*panels, *(target for panel in panels for target in panel["targets"])]
        asking += variables(dashboard) + dashboard["annotations"]["list"]
        assert {each["datasource"]["uid"] for each in asking} == {source["uid"]}

    def test_every_panel_says_what_it_shows_and_in_which_unit(self, dashboard):
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert all(titles)
        assert len(titles) == len(set(titles))
        assert all(panel["description"].endswith(".") for panel in dashboard["panels"])
        assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in dashboard["panels"])

    def test_no_panel_covers_another(self, dashboard):
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        places = [panel["gridPos"] for panel in panels]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places on the grid share a cell."""
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_overlapping_places_are_noticed():
    one = {"x": 0, "y": 0, "w": 12, "h": 8}
    assert overlap(one, one | {"x": 11, "y": 7})
    assert not overlap(one, one | {"x": 12})
    assert not overlap(one, one | {"y": 8})
