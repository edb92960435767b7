import subprocess
import sys

from management.state import PROJECT_DIR

_SHOW = """
import django; django.setup()
from django.contrib.auth.hashers import make_password
print(make_password("x"))
"""


class TestOwaspArgon2idHasher:
    def test_uses_owasp_s_parameters_by_default(self):
        """OWASP Password Storage Cheat Sheet: Argon2id, m=19456 (19 MiB), t=2, p=1."""
        shown = subprocess.run(
            [sys.executable, "-c", _SHOW],
            env={"DJANGO_SETTINGS_MODULE": "highload.settings", "HIGHLOAD_STATE": "/nonexistent"},
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
