"""Limits on register and login, per address and per account. `settings.THROTTLING` switches them all off."""

from __future__ import annotations

import hashlib

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from users.models import normalize_email


class _Throttle(SimpleRateThrottle):
    def identify(self, request: Request) -> str | None:
        raise NotImplementedError

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        """None means: not limited."""
        identity = self.identify(request) if settings.THROTTLING else None
        return self.cache_format % {"scope": self.scope, "ident": identity} if identity else None


class _AddressThrottle(_Throttle):
    def identify(self, request: Request) -> str | None:
        return self.get_ident(request)


class _AccountThrottle(_Throttle):
    """By the e-mail in the body, whoever sends it. Its digest is the key: keys are file names."""

    def identify(self, request: Request) -> str | None:
        email = request.data.get("email") if isinstance(request.data, dict) else None
        if not isinstance(email, str):
            return None
        return hashlib.sha256(normalize_email(email).encode(errors="replace")).hexdigest()


class LoginAddressThrottle(_AddressThrottle):
    """Logins from one address."""

    scope = "login_address"


class LoginAccountThrottle(_AccountThrottle):
    """Logins to one account."""

    scope = "login_account"


class RegisterAddressThrottle(_AddressThrottle):
    """Registrations from one address."""

    scope = "register_address"


class RegisterAccountThrottle(_AccountThrottle):
    """Registrations of one e-mail."""

    scope = "register_account"
