"""The words that generated people are made of: Faker's vocabularies, Russian and English, drawn once.

Each table has a power of two of entries, so that a person is a few bit fields of a random number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final

from faker.providers.address.en_US import Provider as EnglishAddress
from faker.providers.address.ru_RU import Provider as RussianAddress
from faker.providers.job.en_US import Provider as EnglishJob
from faker.providers.job.ru_RU import Provider as RussianJob
from faker.providers.person.en_US import Provider as EnglishPerson
from faker.providers.person.ru_RU import Provider as RussianPerson
from faker.providers.person.ru_RU import translit

WORDS: Final = 4096
DAYS: Final = 16384
_OLDEST: Final = date(1945, 1, 1)
_RUSSIAN_INTERESTS: Final = (
    "Люблю горы.",
    "Читаю и путешествую.",
    "Играю в шахматы.",
    "Бегаю по утрам.",
    "Пою в хоре.",
)
_ENGLISH_INTERESTS: Final = ("I love hiking.", "Books and travel.", "Chess at night.", "Runner.", "I sing in a choir.")

Weighted = Sequence[str] | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Word:
    """A name, and the form of it that an e-mail can hold."""

    text: str
    slug: str


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tables of one language and gender. All have WORDS entries."""

    gender: str
    first_names: list[Word]
    last_names: list[Word]
    cities: list[str]
    biographies: list[str]


def draw_vocabularies(random: Random) -> tuple[Vocabulary, Vocabulary, Vocabulary, Vocabulary]:
    """Russian women and men, English women and men."""
    russian_cities = _draw(random, RussianAddress.city_names)
    english_cities = [
        f"{name}{random.choice(EnglishAddress.city_suffixes)}" for name in _draw(random, EnglishPerson.last_names)
    ]
    russian = _biographies(random, RussianJob.jobs, _RUSSIAN_INTERESTS)
    english = _biographies(random, EnglishJob.jobs, _ENGLISH_INTERESTS)

    def words(names: Weighted) -> list[Word]:
        return [Word(name, _slug(name)) for name in _draw(random, names)]

    return (
        Vocabulary(
            "female",
            words(RussianPerson.first_names_female),
            words(RussianPerson.last_names_female),
            russian_cities,
            russian,
        ),
        Vocabulary(
            "male", words(RussianPerson.first_names_male), words(RussianPerson.last_names_male), russian_cities, russian
        ),
        Vocabulary(
            "female", words(EnglishPerson.first_names_female), words(EnglishPerson.last_names), english_cities, english
        ),
        Vocabulary(
            "male", words(EnglishPerson.first_names_male), words(EnglishPerson.last_names), english_cities, english
        ),
    )


def birth_dates() -> list[str]:
    """DAYS days from 1945 on, as ISO 8601."""
    return [(_OLDEST + timedelta(days=day)).isoformat() for day in range(DAYS)]


def _draw(random: Random, words: Weighted) -> list[str]:
    """WORDS of them, each as often as its weight says."""
    if isinstance(words, Mapping):
        return random.choices(list(words), weights=list(words.values()), k=WORDS)
    return random.choices(words, k=WORDS)


def _biographies(random: Random, jobs: Collection[str], interests: Sequence[str]) -> list[str]:
    return [f"{job}. {random.choice(interests)}" for job in _draw(random, tuple(jobs))]


def _slug(name: str) -> str:
    """Lower-case ASCII letters and digits."""
    latin = name if name.isascii() else translit(name)
    return "".join(letter for letter in latin.lower() if letter.isascii() and letter.isalnum()) or "x"
