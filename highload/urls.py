"""The addresses of the whole system."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from routers.views import healthz, readyz

urlpatterns = [
    # Whoever opens the bare address looks for what there is.
    path("", RedirectView.as_view(pattern_name="docs")),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", ExportToDjangoView, name="metrics"),
    path("v0/api/auth/", include("auth_api.urls")),
    path("v0/api/users/", include("users.api.urls")),
    path("v0/api/schema", SpectacularAPIView.as_view(permission_classes=[AllowAny]), name="schema"),
    path(
        "v0/api/docs",
        SpectacularSwaggerView.as_view(url_name="schema", permission_classes=[AllowAny], http_method_names=["get"]),
        name="docs",
    ),
    path("admin/", admin.site.urls),
]
handler400 = "users.api.problems.bad_request"
handler403 = "users.api.problems.permission_denied"
handler404 = "users.api.problems.not_found"
handler500 = "users.api.problems.server_error"
