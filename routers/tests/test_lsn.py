import pytest

from routers.lsn import Lsn


class TestLsn:
    def test_compares_as_a_number_not_as_text(self):
        assert Lsn.parse("9/0") < Lsn.parse("10/0")

    def test_writes_what_it_read(self):
        assert str(Lsn.parse("16/B374D848")) == "16/B374D848"

    @pytest.mark.parametrize("text", ["", "16", "16/", "/B3", "G/0", "123456789/0", "0/123456789", "0x1/-2"])
    def test_refuses_what_is_no_position(self, text):
        with pytest.raises(ValueError, match="not an LSN"):
            Lsn.parse(text)

    def test_is_behind_by_the_bytes_between(self):
        assert Lsn(10).bytes_behind(Lsn(25)) == 15

    def test_is_not_behind_what_it_has_passed(self):
        assert Lsn(25).bytes_behind(Lsn(10)) == 0
