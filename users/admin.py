"""Users in Django's admin, usable at millions of rows: no full count, searches that an index serves."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from users.models import User, normalize_email
from users.selectors import matching_names

_COUNTED_AT_MOST = 1000
"""Rows of a search that are counted."""
_ESTIMATED_FROM = 100_000
"""Rows from which on the whole table is estimated instead of counted."""


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts a narrowed list up to a bound, and takes the planner's estimate for the whole table."""

    @cached_property
    def count(self) -> int:
        """Exact up to the bound; the bound beyond it; an estimate for the unfiltered table."""
        people: QuerySet[User] = self.object_list  # type: ignore[assignment]  # the admin passes a queryset
        if people.query.where:
            return people.order_by()[:_COUNTED_AT_MOST].count()
        with connections[people.db].cursor() as cursor:
            cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [User._meta.db_table])
            estimate: int = cursor.fetchone()[0]
        # Never analysed (-1) or small: counting is as cheap.
        return estimate if estimate > _ESTIMATED_FROM else people.order_by().count()


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Search by e-mail, by id, or by the beginnings of the names."""

    list_display = ("id", "email", "first_name", "last_name", "city", "is_active", "is_staff")
    list_display_links = ("id", "email")
    list_per_page = 50
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    # Deleting people in bulk is no admin's click.
    actions = None
    sortable_by: ClassVar[tuple[str, ...]] = ("id",)
    paginator = EstimatingPaginator
    show_full_result_count = False
    search_fields = ("email",)
    search_help_text = "An e-mail, an id, or the beginning of a last name, or of a first and a last name."
    fields = (
        "email",
        ("first_name", "last_name"),
        ("birth_date", "gender", "city"),
        "biography",
        ("is_active", "is_staff", "is_superuser"),
        "groups",
        "joined_at",
    )
    readonly_fields = ("joined_at",)
    change_password_form = AdminPasswordChangeForm

    def has_add_permission(self, request: HttpRequest) -> bool:
        """People register themselves."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """No filters in the address: `?password__startswith=` would tell the hashes letter by letter."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """What an index can answer: the e-mail, the id, or names by their beginnings."""
        term = search_term.replace("\x00", "").strip()
        if not term:
            return queryset, False
        if "@" in term:
            return queryset.filter(email=normalize_email(term)), False
        if term.isdecimal():
            return queryset.filter(pk=int(term)), False
        first_name, _, last_name = term.rpartition(" ")
        return matching_names(queryset, first_name=first_name.strip(), last_name=last_name), False
