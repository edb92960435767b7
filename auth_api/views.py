"""Registration and login over HTTP."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from auth_api.serializers import AccessTokenOut, Login, Registered, Registration
from auth_api.services import WrongCredentials, log_in
from auth_api.throttles import (
    LoginAccountThrottle,
    LoginAddressThrottle,
    RegisterAccountThrottle,
    RegisterAddressThrottle,
)
from users.api.views import problem_response
from users.services import register_user


class RegisterView(APIView):
    """POST a new person."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (RegisterAddressThrottle, RegisterAccountThrottle)

    @extend_schema(
        operation_id="register",
        request=Registration,
        responses={
            201: Registered,
            400: problem_response("The request is not valid; `errors` names the fields."),
            409: problem_response("The e-mail is taken."),
            429: problem_response("Too many registrations; `Retry-After` says when to come back."),
            503: problem_response("There is no primary at the moment."),
        },
    )
    def post(self, request: Request) -> Response:
        """Register with an e-mail and a password."""
        registration = Registration(data=request.data)
        registration.is_valid(raise_exception=True)
        fields = registration.validated_data
        user = register_user(email=fields.pop("email"), password=fields.pop("password"), profile=fields)
        return Response({"userId": user.pk}, status=201)


class LoginView(APIView):
    """POST e-mail and password, get a token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (LoginAddressThrottle, LoginAccountThrottle)
    # A pure read: it may go to a replica although it is a POST.
    reads_only = True

    @extend_schema(
        operation_id="login",
        request=Login,
        responses={
            200: AccessTokenOut,
            400: problem_response("The request is not valid; `errors` names the fields."),
            401: problem_response("No user has this e-mail and password."),
            429: problem_response("Too many logins; `Retry-After` says when to come back."),
        },
    )
    def post(self, request: Request) -> Response:
        """Exchange e-mail and password for an access token."""
        login = Login(data=request.data)
        login.is_valid(raise_exception=True)
        try:
            token = log_in(**login.validated_data)
        except WrongCredentials as error:
            raise AuthenticationFailed("No user has this e-mail and password.") from error
        return Response({"accessToken": token.access_token, "tokenType": "Bearer", "expiresAt": token.expires_at})

    def get_authenticate_header(self, request: Request) -> str:
        """Without this DRF would answer 403 for wrong credentials."""
        return 'Bearer realm="api"'
