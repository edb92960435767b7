"""Generates people as lines of COPY, fast and in bounded memory. The same seed gives the same people."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final

from management.seeding.vocabulary import birth_dates, draw_vocabularies

COLUMNS: Final = (
    "id",
    "email",
    "password",
    "first_name",
    "last_name",
    "birth_date",
    "gender",
    "city",
    "biography",
    "is_active",
    "is_staff",
    "is_superuser",
    "joined_at",
)
BATCH_ROWS: Final = 10_000
COUNT_MAX: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Some people in a row."""

    first_id: int
    emails: list[str]
    copy_text: str
    """Lines in COPY's text format, with the columns of COLUMNS."""


def generate_people(
    *, count: int, first_id: int, seed: int, password_hash: str, joined_at: datetime
) -> Iterator[Batch]:
    """`count` people with ids from `first_id` on, in batches of at most BATCH_ROWS.

    Args:
        count: How many.
        first_id: Id of the first; it is part of the e-mail, which makes that unique.
        seed: Decides everything but the ids, the hash and the time.
        password_hash: Shared by all, so that one computed hash serves a million logins.
        joined_at: When they joined.
    """
    random = Random(seed)  # noqa: S311 - repeatable by intent
    groups = [
        (group.first_names, group.last_names, group.cities, group.biographies, group.gender)
        for group in draw_vocabularies(random)
    ]
    days = birth_dates()
    # Vocabulary words hold no tab, newline or backslash; a hash holds none either. COPY needs no escapes.
    tail = f"t\tf\tf\t{joined_at.isoformat()}"
    for start in range(first_id, first_id + count, BATCH_ROWS):
        size = min(BATCH_ROWS, first_id + count - start)
        bits = struct.unpack(f"={2 * size}Q", random.randbytes(16 * size))
        emails: list[str] = []
        lines: list[str] = []
        for user_id, names, rest in zip(range(start, start + size), bits[::2], bits[1::2], strict=True):
            firsts, lasts, cities, biographies, gender = groups[names & 3]
            first, last = firsts[names >> 2 & 4095], lasts[names >> 14 & 4095]
            email = f"{first.slug}.{last.slug}.{user_id}@example.com"
            emails.append(email)
            lines.append(
                f"{user_id}\t{email}\t{password_hash}\t{first.text}\t{last.text}\t{days[rest & 16383]}\t{gender}"
                f"\t{cities[rest >> 14 & 4095]}\t{biographies[rest >> 26 & 4095]}\t{tail}\n"
            )
        yield Batch(start, emails, "".join(lines))
