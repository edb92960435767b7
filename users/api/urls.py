"""Addresses below /v0/api/users/."""

from django.urls import path

from users.api.views import MeView, ProfileView, SearchView

urlpatterns = [
    path("search", SearchView.as_view()),
    path("me", MeView.as_view()),
    path("<int:user_id>", ProfileView.as_view()),
]
