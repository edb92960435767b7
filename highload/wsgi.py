"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
_django = get_wsgi_application()

from users.api.middleware import only_utf8  # noqa: E402 - after Django is set up

application = only_utf8(_django)
