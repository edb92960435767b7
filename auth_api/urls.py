"""Addresses below /v0/api/auth/."""

from django.urls import path

from auth_api.views import LoginView, RegisterView

urlpatterns = [
    path("register", RegisterView.as_view()),
    path("login", LoginView.as_view()),
]
