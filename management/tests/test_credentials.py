import stat

import pytest

from management.credentials import Login, generate_secret, operator_credentials, read_env_file, write_secret_file
from management.errors import Refused
from management.state import StateDirectory


class TestWriteSecretFile:
    def test_nobody_else_may_read_it(self, tmp_path):
        write_secret_file(tmp_path / "x.env", {"A": "1"}, heading="test")
        assert stat.S_IMODE((tmp_path / "x.env").stat().st_mode) == 0o600

    def test_closes_a_file_that_was_open(self, tmp_path):
        (tmp_path / "x.env").touch(mode=0o644)
        write_secret_file(tmp_path / "x.env", {"A": "1"}, heading="test")
        assert stat.S_IMODE((tmp_path / "x.env").stat().st_mode) == 0o600

    def test_is_read_as_it_was_written(self, tmp_path):
        secret = generate_secret()
        write_secret_file(tmp_path / "x.env", {"A": secret}, heading="test")
        assert read_env_file(tmp_path / "x.env") == {"A": secret}

    @pytest.mark.parametrize("value", ["p a # ss", "it's", 'a"b', "a\\b", "$HOME ${X}", "", "ж"])
    def test_keeps_a_value_that_somebody_wrote_in(self, tmp_path, value):
        write_secret_file(tmp_path / "x.env", {"A": value, "B": "1"}, heading="test")
        assert read_env_file(tmp_path / "x.env") == {"A": value, "B": "1"}


class TestSecrets:
    def test_are_long_and_differ(self):
        assert len({generate_secret() for _ in range(100)}) == 100
        assert len(generate_secret()) == 32

    def test_are_not_shown(self):
        assert "secret" not in repr(Login("role", "secret"))

    def test_a_missing_one_names_the_variable_and_the_file(self, tmp_path, monkeypatch):
        monkeypatch.delenv("HIGHLOAD_OPERATOR_PASSWORD", raising=False)
        with pytest.raises(Refused, match=r"HIGHLOAD_OPERATOR_PASSWORD is not set and not in .*operator\.env"):
            operator_credentials(StateDirectory(tmp_path))
