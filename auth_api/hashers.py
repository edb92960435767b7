"""Argon2id at the parameters of `settings`, whose defaults are OWASP's."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher


class OwaspArgon2idHasher(Argon2PasswordHasher):
    """Django's Argon2id hasher. A login costs one hash: about 20 ms and 19 MiB at the defaults."""

    time_cost = settings.PASSWORD_ARGON2_TIME_COST
    memory_cost = settings.PASSWORD_ARGON2_MEMORY_KIB
    parallelism = settings.PASSWORD_ARGON2_PARALLELISM
