"""Profiles and search over HTTP: translate in, one call, translate out."""

from __future__ import annotations

from typing import Final

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from users.api.serializers import OwnProfileOut, ProblemOut, ProfileFields, ProfileOut, SearchPage, SearchQuery
from users.errors import UserNotFound
from users.selectors import get_profile, search_users
from users.services import update_profile


def problem_response(description: str) -> OpenApiResponse:
    """How the OpenAPI schema shows an error."""
    return OpenApiResponse(response=ProblemOut, description=description)


_INVALID: Final = problem_response("The request is not valid; `errors` names the fields.")
_UNAUTHORIZED: Final = problem_response("The token is missing, malformed or expired.")
_NOT_FOUND: Final = problem_response("There is no such user.")


def _bearer(request: Request) -> int:
    """The id in the token, which its signature vouches for."""
    try:
        return int(str(request.user.pk))
    except ValueError as error:
        raise AuthenticationFailed("The token names no user.") from error


class ProfileView(APIView):
    """GET one person's profile."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="getUser", responses={200: ProfileOut, 404: _NOT_FOUND})
    def get(self, request: Request, user_id: int) -> Response:
        """A person's public profile."""
        return Response(ProfileOut(get_profile(user_id=user_id)).data)


class SearchView(APIView):
    """GET people by the beginnings of their names."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="searchUsers", parameters=[SearchQuery], responses={200: SearchPage, 400: _INVALID})
    def get(self, request: Request) -> Response:
        """People whose names begin so, in any letter case, ordered by id."""
        query = SearchQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        # One more than asked tells whether there is a next page.
        found = search_users(
            first_name=wanted["firstName"],
            last_name=wanted["lastName"],
            after_id=wanted["cursor"],
            limit=wanted["limit"] + 1,
        )
        page = found[: wanted["limit"]]
        next_cursor = str(page[-1].pk) if len(found) > len(page) else None
        return Response(SearchPage({"users": page, "nextCursor": next_cursor}).data)


class MeView(APIView):
    """GET and PATCH the bearer's own profile."""

    @extend_schema(operation_id="getMe", responses={200: OwnProfileOut, 401: _UNAUTHORIZED})
    def get(self, request: Request) -> Response:
        """The bearer's own profile, with the e-mail."""
        try:
            return Response(OwnProfileOut(get_profile(user_id=_bearer(request))).data)
        except UserNotFound as error:
            raise AuthenticationFailed("The user of this token no longer exists.") from error

    @extend_schema(
        operation_id="updateMe",
        request=ProfileFields(partial=True),
        responses={200: OwnProfileOut, 400: _INVALID, 401: _UNAUTHORIZED},
    )
    def patch(self, request: Request) -> Response:
        """Change the given fields of the bearer's own profile and leave the others."""
        changes = ProfileFields(data=request.data, partial=True)
        changes.is_valid(raise_exception=True)
        try:
            user = update_profile(user_id=_bearer(request), changes=changes.validated_data)
        except UserNotFound as error:
            raise AuthenticationFailed("The user of this token no longer exists.") from error
        return Response(OwnProfileOut(user).data)
