import pytest

from routers.lsn import Lsn
from routers.token import Token, sign, verify

TOKEN = Token(7, 2, Lsn(0x3000148), "pg-2")


class TestSigned:
    def test_comes_back_as_it_was(self):
        assert verify(sign(TOKEN)) == TOKEN

    @pytest.mark.parametrize("text", ["", "x", "7-2-3000148-pg-2.forged", "a" * 10_000, "7-2-zz-.x"])
    def test_another_one_is_none(self, text):
        assert verify(text) is None

    def test_a_changed_one_is_none(self):
        assert verify(sign(TOKEN).replace("3000148", "3000147")) is None

    def test_one_of_another_key_is_none(self, settings):
        text = sign(TOKEN)
        settings.SECRET_KEY = "another" * 10
        assert verify(text) is None

    def test_a_signed_text_that_is_no_token_is_none(self):
        from routers.token import _signer

        assert verify(_signer().sign("not a token")) is None
