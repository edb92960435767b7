from routers.memory import KnownHistory, read_history, remember_history


class TestHistory:
    def test_there_is_none_before_the_first_time(self, tmp_path):
        assert read_history(tmp_path / "history.json") is None

    def test_is_read_as_it_was_remembered(self, tmp_path):
        remember_history(tmp_path / "history.json", KnownHistory(7, 3))
        assert read_history(tmp_path / "history.json") == KnownHistory(7, 3)

    def test_never_goes_back(self, tmp_path):
        for timeline in (3, 2):
            remember_history(tmp_path / "history.json", KnownHistory(7, timeline))
        assert read_history(tmp_path / "history.json") == KnownHistory(7, 3)

    def test_a_damaged_file_is_reported_and_written_anew(self, tmp_path, caplog):
        (tmp_path / "history.json").write_text("{")
        assert read_history(tmp_path / "history.json") is None
        assert "old primary would not be recognised" in caplog.text
        remember_history(tmp_path / "history.json", KnownHistory(7, 3))
        assert read_history(tmp_path / "history.json") == KnownHistory(7, 3)

    def test_a_file_that_cannot_be_written_is_reported(self, tmp_path, caplog):
        remember_history(tmp_path / "missing" / "history.json", KnownHistory(7, 3))
        assert "cannot be written" in caplog.text
