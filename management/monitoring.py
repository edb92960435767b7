"""Prometheus and its exporters beside a local system: start what does not run, stop it. Knows programs, not metrics."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from management.account import Account, first_unprivileged
from management.background import Background, Launch, answers
from management.credentials import monitor_login
from management.errors import Refused
from management.host import reachable_directory, shared_directory
from management.ports import require_free_port
from management.record import ClusterRecord
from management.scraping import prometheus_configuration
from management.state import PROJECT_DIR, StateDirectory

PORT: Final = 9090
_OPTION: Final = "--prometheus-port"
_PROMETHEUS, _POSTGRES_EXPORTER, _HOST_EXPORTER = PROGRAMS = (
    "prometheus",
    "prometheus-postgres-exporter",
    "prometheus-node-exporter",
)
"""Each is in Debian's package of the same name."""
# Debian's packages make the first. Never the nodes' user, who could read their data.
_USERS: Final = ("prometheus", "nobody")
_FILES: Final = PROJECT_DIR / "deploy" / "prometheus"
# Asked once a second; the others are not shown anywhere.
_HOST_COLLECTORS: Final = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev")
# Asked once a second, too: the sizes of all files of all databases; and views that newer servers no longer have.
_LEFT_OUT: Final = ("--disable-settings-metrics", "--no-collector.database", "--no-collector.bgwriter")


@dataclass(frozen=True, slots=True)
class _Program:
    """One program to run."""

    key: str
    arguments: Sequence[str]
    ready_path: str = "/"
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables of its environment: a command line is shown to every user of the machine."""


def monitoring_ports(first: int, nodes: Sequence[str]) -> dict[str, int]:
    """The port of each program, by its key: Prometheus, then the exporters.

    >>> monitoring_ports(9090, ["pg1", "pg2"])
    {'prometheus': 9090, 'exporter-host': 9091, 'exporter-pg1': 9092, 'exporter-pg2': 9093}
    """
    keys = ("prometheus", "exporter-host", *map(_key_of, nodes))
    return {key: first + offset for offset, key in enumerate(keys)}


def require_monitoring(first_port: int, nodes: Sequence[str], state: StateDirectory) -> None:
    """Do nothing if all can be started.

    Raises:
        Refused: A program is not installed, or a port is taken by somebody else.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise Refused(
            f"Monitoring needs {', '.join(missing)}. On Debian and Ubuntu: apt-get install {' '.join(PROGRAMS)}"
        )
    for key, port in monitoring_ports(first_port, nodes).items():
        running = _process(key, state).find()
        if running is None or running.options["port"] != port:
            require_free_port(port, purpose=key, option=_OPTION)


def ensure_monitoring(
    first_port: int, application_port: int, record: ClusterRecord, state: StateDirectory
) -> list[str]:
    """Start what has ended, does not answer or is to run otherwise than it does; return the keys of those.

    Raises:
        Refused: A port is taken.
        OperationError: One does not get ready.
    """
    ports = monitoring_ports(first_port, [node.name for node in record.nodes])
    account = Account(first_unprivileged(_USERS) if os.geteuid() == 0 else None)
    directory, elsewhere = monitoring_homes(state)
    home = reachable_directory(account, directory, elsewhere=elsewhere)
    configuration = _write_files(home, _configuration(ports, application_port, record))
    programs = [_prometheus(ports, home), _host_exporter(ports), *_node_exporters(ports, home, record, state)]
    return [
        program.key
        for program in programs
        if _ensure(program, ports[program.key], account, state, digest=configuration)
    ]


def stop_monitoring(state: StateDirectory) -> bool:
    """End what runs. False when nothing did.

    Raises:
        OperationError: One does not end.
    """
    keys = ["prometheus", *sorted(path.stem for path in state.run_dir.glob("exporter-*.json"))]
    ended = [_process(key, state).end() for key in keys]
    return any(ended)


def monitoring_homes(state: StateDirectory) -> tuple[Path, Path]:
    """Where its files and data are: in the state directory, or where a user without root's rights reaches them."""
    shared = shared_directory(state)
    return state.root / "prometheus", shared.with_name(f"{shared.name}-prometheus")


def _ensure(program: _Program, port: int, account: Account, state: StateDirectory, *, digest: str) -> bool:
    """Whether it had to be started."""
    process = _process(program.key, state)
    described = repr((program, account, digest)).encode()
    options = {"port": port, "configuration": hashlib.sha256(described).hexdigest()}
    running = process.find()
    if running is not None and running.options == options and answers(port, program.ready_path):
        return False
    process.end()
    require_free_port(port, purpose=program.key, option=_OPTION)
    path, *arguments = program.arguments
    process.start(
        # Nothing of this environment is for them.
        Launch([str(shutil.which(path)), *arguments], program.secrets, Path("/"), account),
        options=options,
        is_ready=lambda: answers(port, program.ready_path),
    )
    return True


def _prometheus(ports: Mapping[str, int], home: Path) -> _Program:
    arguments = [
        _PROMETHEUS,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        "--storage.tsdb.retention.time=2d",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
    ]
    return _Program("prometheus", arguments, "/-/ready")


def _host_exporter(ports: Mapping[str, int]) -> _Program:
    collectors = [f"--collector.{name}" for name in _HOST_COLLECTORS]
    listen = f"--web.listen-address=127.0.0.1:{ports['exporter-host']}"
    return _Program("exporter-host", [_HOST_EXPORTER, listen, "--collector.disable-defaults", *collectors])


def _node_exporters(
    ports: Mapping[str, int], home: Path, record: ClusterRecord, state: StateDirectory
) -> list[_Program]:
    login = monitor_login(state)
    options = [*_LEFT_OUT, f"--extend.query-path={home / 'queries.yml'}"]
    return [
        _Program(
            _key_of(node.name),
            [_POSTGRES_EXPORTER, f"--web.listen-address=127.0.0.1:{ports[_key_of(node.name)]}", *options],
            secrets={
                "DATA_SOURCE_URI": f"{node.host}:{node.port}/postgres?sslmode=disable",
                "DATA_SOURCE_USER": login.role,
                "DATA_SOURCE_PASS": login.password,
            },
        )
        for node in record.nodes
    ]


def _configuration(ports: Mapping[str, int], application_port: int, record: ClusterRecord) -> str:
    return prometheus_configuration(
        prometheus=ports["prometheus"],
        application=application_port,
        host=ports["exporter-host"],
        nodes={node.name: ports[_key_of(node.name)] for node in record.nodes},
    )


def _write_files(home: Path, configuration: str) -> str:
    """Put what the programs read where they reach it, whatever the umask; return a digest of it all."""
    (home / "rules").mkdir(exist_ok=True)
    (home / "rules").chmod(0o755)
    files = {path.relative_to(_FILES): path.read_text("utf-8") for path in [_FILES / "queries.yml", *_rules()]}
    files[Path("prometheus.yml")] = configuration
    for old in home.glob("rules/*"):
        old.unlink()
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8")
        (home / name).chmod(0o644)
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def _rules() -> list[Path]:
    return sorted(_FILES.glob("rules/*.yml"))


def _key_of(node: str) -> str:
    return f"exporter-{node}"


def _process(key: str, state: StateDirectory) -> Background:
    return Background(key, state.run_dir / f"{key}.json", state.log_dir / f"{key}.log")
