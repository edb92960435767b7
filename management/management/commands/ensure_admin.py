"""`manage.py ensure_admin`: the administrator whose password set-up generated."""

from __future__ import annotations

import os
from typing import Any

import django

from management.base import ClusterCommand
from management.credentials import read_env_file
from management.errors import Refused
from management.exit_codes import ExitCode
from management.state import StateDirectory
from routers.conf import PRIMARY_ALIAS


class Command(ClusterCommand):
    """Creates the administrator of the operator's file, unless there is one with this e-mail."""

    help = "Create the administrator HIGHLOAD_ADMIN_EMAIL if there is none. Changes no existing user."

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Look, then create."""
        values = {**read_env_file(state.operator_env), **os.environ}
        email, password = values.get("HIGHLOAD_ADMIN_EMAIL"), values.get("HIGHLOAD_ADMIN_PASSWORD")
        if not email or not password:
            raise Refused("HIGHLOAD_ADMIN_EMAIL and HIGHLOAD_ADMIN_PASSWORD are not set.")
        django.setup()
        from users.models import User  # noqa: PLC0415 - the models exist from here on

        if not User.objects.using(PRIMARY_ALIAS).filter(email=email).exists():
            User.objects.create_superuser(email, password, first_name="Highload", last_name="Admin")
        self.stdout.write(f"administrator {email}; password in {state.operator_env}")
        return ExitCode.DONE
