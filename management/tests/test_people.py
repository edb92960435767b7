from datetime import UTC, datetime

import pytest

from management.seeding.people import BATCH_ROWS, COLUMNS, generate_people
from management.seeding.vocabulary import WORDS, draw_vocabularies

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def people(count: int, *, seed: int = 1, first_id: int = 1) -> list[list[str]]:
    batches = generate_people(count=count, first_id=first_id, seed=seed, password_hash="hash", joined_at=NOW)
    return [line.split("\t") for batch in batches for line in batch.copy_text.splitlines()]


class TestGeneratePeople:
    def test_the_same_seed_gives_the_same_people(self):
        assert people(500) == people(500)

    def test_another_seed_gives_others(self):
        assert people(500) != people(500, seed=2)

    @pytest.mark.parametrize("count", [1, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1])
    def test_there_are_as_many_as_asked_for_with_ids_in_a_row(self, count):
        assert [int(person[0]) for person in people(count, first_id=7)] == list(range(7, 7 + count))

    def test_e_mails_are_unique_and_lower_case(self):
        emails = [person[COLUMNS.index("email")] for person in people(5000)]
        assert len(set(emails)) == 5000
        assert all(email == email.lower() and email.isascii() for email in emails)

    def test_names_are_cyrillic_and_latin(self):
        firsts = [person[COLUMNS.index("first_name")] for person in people(1000)]
        latin = sum(name.isascii() for name in firsts)
        assert 400 < latin < 600

    def test_no_field_breaks_a_line_of_copy(self):
        assert {len(person) for person in people(5000)} == {len(COLUMNS)}


class TestVocabulary:
    def test_no_word_needs_an_escape(self):
        from random import Random

        for vocabulary in draw_vocabularies(Random(1)):
            texts = [word.text for word in (*vocabulary.first_names, *vocabulary.last_names)]
            assert not set("\t\n\\") & set("".join([*texts, *vocabulary.cities, *vocabulary.biographies]))
            assert len(texts) == 2 * WORDS
