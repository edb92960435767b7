"""The documentation names what there is, and nothing it names is missing."""

import re

import pytest
import yaml

from management.state import PROJECT_DIR

DOCS = PROJECT_DIR / "docs"
CODE = [
    path
    for folder in ("highload", "routers", "users", "auth_api", "management", "deploy")
    for path in (PROJECT_DIR / folder).rglob("*")
    if path.suffix in {".py", ".sh"} and "tests" not in path.parts
]


def text(path: str) -> str:
    return (DOCS / path).read_text()


def in_code(pattern: str) -> set[str]:
    return {match for path in CODE for match in re.findall(pattern, path.read_text())}


class TestReference:
    def test_lists_every_setting(self):
        read = in_code(r"""["{$]\{?(HIGHLOAD_[A-Z0-9_]+)["}:]""") | {"HIGHLOAD_ARGON2_MEMORY_KIB"}
        assert len(read) > 30
        assert not {name for name in read if name not in text("reference/settings.md")}

    def test_lists_no_setting_that_is_not_there(self):
        listed = set(re.findall(r"`(HIGHLOAD_[A-Z0-9_]+)`", text("reference/settings.md")))
        named = in_code(r"(HIGHLOAD_[A-Z0-9_]+)")
        # Built from a part: HIGHLOAD_{kind}_PASSWORD.
        built = {
            f"HIGHLOAD_{kind}_{part}" for kind in ("OPERATOR", "REPLICATOR", "MONITOR") for part in ("USER", "PASSWORD")
        }
        assert listed <= named | built

    def test_lists_every_command_and_its_options(self):
        shown = text("reference/commands.md")
        for path in (PROJECT_DIR / "management/management/commands").glob("[a-z]*.py"):
            assert f"manage.py {path.stem}" in shown
            options = re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text())
            assert [option for option in options if option not in shown] == []

    def test_lists_every_check(self):
        ids = in_code(r"routers\.[EW]\d{3}")
        assert ids == set(re.findall(r"routers\.[EW]\d{3}", text("reference/checks.md")))

    def test_lists_every_metric_and_reason(self):
        shown = text("reference/metrics.md")
        metrics = in_code(r'"(routers_[a-z_]+)"') - {"routers_scope"}
        reasons = set(re.findall(r'= "([a-z_]+)"', (PROJECT_DIR / "routers/selection.py").read_text()))
        assert not {name for name in metrics | reasons if f"`{name}`" not in shown}

    def test_lists_every_metric_of_the_nodes_and_every_recording_rule(self):
        shown = text("reference/metrics.md")
        prometheus = PROJECT_DIR / "deploy" / "prometheus"
        queries = yaml.safe_load((prometheus / "queries.yml").read_text())
        names = [
            f"{prefix}_{name}"
            for prefix, query in queries.items()
            for metric in query["metrics"]
            for name, what in metric.items()
            if what["usage"] != "LABEL"
        ]
        names += re.findall(r"record: (\S+)", (prometheus / "rules" / "recording.yml").read_text())
        assert len(names) > 20
        assert not [name for name in names if f"`{name}`" not in shown]


@pytest.mark.parametrize(
    "page",
    [PROJECT_DIR / "README.md", PROJECT_DIR / "jmeter" / "README.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda page: str(page.relative_to(PROJECT_DIR)),
)
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []
