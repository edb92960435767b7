"""Login: a pure read, and a token that no server keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib.auth.hashers import check_password, make_password
from rest_framework_simplejwt.tokens import AccessToken

from users.selectors import find_credentials


class WrongCredentials(Exception):
    """The e-mail is unknown, the password wrong or the user inactive; deliberately not told apart."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A signed access token."""

    access_token: str
    expires_at: datetime


def log_in(*, email: str, password: str) -> IssuedToken:
    """Check the credentials and sign a token. Reads one row, writes nothing.

    An unknown e-mail costs a hash too, so that the time of the answer does not tell who is registered.

    Raises:
        WrongCredentials: No active user has this e-mail and password.
    """
    user = find_credentials(email=email)
    if user is None:
        make_password(password)
        raise WrongCredentials
    # Without a setter: an outdated hash is not rewritten here, because login must not write.
    if not check_password(password, user.password):
        raise WrongCredentials
    token = AccessToken.for_user(user)
    return IssuedToken(str(token), datetime.fromtimestamp(token["exp"], tz=UTC))
