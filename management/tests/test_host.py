import os
import shutil

import pytest

from management.host import node_user, prepare_home
from management.installation import examine, find_installations
from management.state import StateDirectory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the nodes as another user")


@as_root
class TestPrepareHome:
    def test_takes_programs_and_data_to_where_the_nodes_reach_them(self, tmp_path, monkeypatch):
        """tmp_path is closed to other users, as root's home is."""
        monkeypatch.delenv("PG_BINDIR", raising=False)
        monkeypatch.setattr("management.host.SHARED_HOME", shared := shared_home())
        wheel = next(each for each in find_installations() if each.bindir.parent.name == "pginstall").bindir.parents[1]
        for source in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            shutil.copytree(source, tmp_path / source.name)
        hidden = examine(tmp_path / wheel.name / "pginstall" / "bin")
        try:
            host, home = prepare_home(hidden, StateDirectory(tmp_path / "state"))
            assert home.parent == shared
            # Programs that need libpq, and data that the nodes' user may write.
            assert "pg_basebackup" in host.run("pg_basebackup", "--version")
            assert "initdb" in host.run("initdb", "--version")
            assert host.account.reaches(home)
        finally:
            shutil.rmtree(shared)

    def test_never_takes_root(self, monkeypatch):
        monkeypatch.setenv("HIGHLOAD_NODE_USER", "root")
        with pytest.raises(Exception, match="HIGHLOAD_NODE_USER"):
            node_user()


def shared_home():
    """Stands for /var/lib/highload."""
    import tempfile
    from pathlib import Path

    home = Path(tempfile.mkdtemp(prefix="highload-tests-"))
    home.chmod(0o755)
    return home
