import threading

import pytest

import routers
from routers.request_state import current_scope, pin_to_primary, scope


class TestScope:
    def test_there_is_none_outside(self):
        assert current_scope() is None

    def test_ends_also_after_an_error(self):
        with pytest.raises(ZeroDivisionError), scope():
            _ = 1 / 0
        assert current_scope() is None

    def test_nests_and_restores(self):
        with routers.reading_from_replica():
            outer = current_scope()
            with routers.primary():
                assert current_scope().pinned
            assert current_scope() is outer
            assert not outer.pinned

    def test_pinning_lasts_to_the_end_of_the_scope(self):
        with scope() as opened:
            pin_to_primary()
            assert opened.pinned

    def test_a_write_in_an_inner_scope_pins_the_outer_one_too(self):
        with scope() as outer:
            with routers.primary():
                pin_to_primary()
            assert outer.pinned

    def test_what_an_inner_scope_has_seen_its_outer_one_has_seen(self):
        with scope() as outer:
            with scope() as inner:
                inner.node, inner.has_read_node = "pg2", True
            assert (outer.node, outer.has_read_node, outer.has_read_primary) == ("pg2", True, False)
            with scope() as inner:
                inner.node, inner.has_read_node = "pg3", True
            # Only a position of the primary covers both.
            assert outer.has_read_primary

    def test_pinning_outside_a_scope_does_nothing(self):
        pin_to_primary()
        assert current_scope() is None

    def test_does_not_leak_to_another_thread(self):
        seen = []
        with scope():
            thread = threading.Thread(target=lambda: seen.append(current_scope()))
            thread.start()
            thread.join()
        assert seen == [None]
