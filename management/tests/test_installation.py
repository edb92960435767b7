import pytest

from management.errors import Refused
from management.installation import examine, find_installation, find_installations


class TestFindInstallations:
    def test_finds_at_least_the_wheel(self, monkeypatch):
        monkeypatch.delenv("PG_BINDIR", raising=False)
        assert 18 in {installation.major for installation in find_installations()}

    def test_takes_pg_bindir_and_nothing_else(self, monkeypatch):
        monkeypatch.delenv("PG_BINDIR", raising=False)
        last = find_installations()[-1]
        monkeypatch.setenv("PG_BINDIR", str(last.bindir))
        assert find_installations() == [last]

    def test_refuses_a_pg_bindir_without_programs(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PG_BINDIR", str(tmp_path))
        with pytest.raises(Refused, match="has no PostgreSQL 15 or newer"):
            find_installation()

    def test_passes_over_a_version_that_is_too_old(self, tmp_path):
        for name in ("postgres", "initdb", "pg_basebackup", "pg_controldata"):
            (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n")
            (tmp_path / name).chmod(0o755)
        assert examine(tmp_path) is None
