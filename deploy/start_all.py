"""Strings the commands together: set up, migrate, seed, serve. Started by `deploy/start-all`."""

from __future__ import annotations

import argparse
import codecs
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.core.management import CommandError, call_command

from deploy.console import add_state_option, say
from management.errors import OperationError, Refused
from management.exit_codes import INTERRUPTED, ExitCode
from management.local_plan import BASE_PORT, REPLICAS
from management.monitoring import PORT, ensure_monitoring, require_monitoring, stop_monitoring
from management.ports import require_free_port
from management.processes import hear_termination, run_to_its_end
from management.record import load_record, require_record
from management.seeding.task import COUNT_MAX
from management.server import ServerOptions, configuration_digest, ensure_server, running_server, stop_server
from management.setup import stop_local
from management.state import PROJECT_DIR, VARIABLE, StateDirectory
from management.streams import prepare_streams

if TYPE_CHECKING:
    from users.models import User


def main() -> int:
    """Start everything; stay until Ctrl-C, or leave it running with --detach."""
    prepare_streams(sys.stdout, sys.stderr)
    options = parse()
    os.environ[VARIABLE] = str(Path(options.state).absolute())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
    state = StateDirectory.from_environment()
    hear_termination()
    code = run(options, state)
    if code != INTERRUPTED:
        return code
    try:
        stop(state)
    except OperationError as error:
        say(f"start-all: {error}")
        return ExitCode.INCOMPLETE
    return INTERRUPTED


def run(options: argparse.Namespace, state: StateDirectory) -> int:
    """Start, and unless detached wait for the end. INTERRUPTED means that everything shall be stopped.

    After an error what runs stays: the next start-all goes on from there.
    """
    try:
        state.require_owner()
        server_pid = start(options, state)
        if options.detach:
            return ExitCode.DONE
        say("\nCtrl-C stops everything.")
        wait_for_end(server_pid, state)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OperationError as error:
        say(f"start-all: {error}")
        return error.exit_code
    except CommandError as error:
        say(f"start-all: {error}")
        return error.returncode
    except subprocess.CalledProcessError as error:
        # The command has said why.
        return error.returncode
    say(f"The web server has ended by itself; see {state.log_dir / 'gunicorn.log'}. The nodes still run.")
    return ExitCode.INCOMPLETE


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="start-all", description="Set up, migrate, seed and serve. Safe to run again: continues where it is."
    )
    parser.add_argument("--replicas", type=int, metavar="N", help="number of replicas (default: 2)")
    parser.add_argument("--sync", choices=["first", "quorum", "off"], help="whom a commit waits for (default: quorum)")
    parser.add_argument(
        "--users",
        type=int,
        metavar="N",
        help="add people up to N; removes none (default: 1,000,000, if there are none)",
    )
    parser.add_argument(
        "--profile",
        choices=["replication", "observe", "master-only"],
        default="replication",
        help="where reads go (default: %(default)s)",
    )
    parser.add_argument("--base-port", type=int, metavar="N", help="port of the first node (default: 5501)")
    parser.add_argument(
        "--http-port", type=int, default=8000, metavar="N", help="port of the application (default: 8000)"
    )
    parser.add_argument(
        "--monitoring", action="store_true", help="also start Prometheus and its exporters, from the system's packages"
    )
    parser.add_argument(
        "--prometheus-port",
        type=int,
        default=PORT,
        metavar="N",
        help="port of Prometheus; its exporters take the next ones (default: %(default)s)",
    )
    add_state_option(parser)
    parser.add_argument("--detach", action="store_true", help="leave it running; stop it with deploy/stop-all")
    options = parser.parse_args()
    if options.users is not None and not 0 <= options.users <= COUNT_MAX:
        parser.error(f"--users {options.users} is not between 0 and {COUNT_MAX}")
    return options


def start(options: argparse.Namespace, state: StateDirectory) -> int:
    """Bring everything up and return the pid of the web server."""
    running = running_server(state)
    if running is None or running.options.port != options.http_port:
        require_free_port(options.http_port, purpose="HTTP", option="--http-port")
    require_apart(options, state)
    if options.monitoring:
        require_monitoring(options.prometheus_port, node_names(options, state), state)
    manage("setup_replication", *given(options, "replicas", "base_port", "sync"))
    if running_server(state) is None:
        # A node may have taken it.
        require_free_port(options.http_port, purpose="HTTP", option="--http-port")
    # The settings exist from here on.
    import django

    django.setup()
    say("migrating")
    call_command("migrate", interactive=False, verbosity=0)
    if options.users is None:
        call_command("seed_users", if_empty=True)
    elif options.users:
        call_command("seed_users", count=options.users, top_up=True)
    call_command("ensure_admin")
    wanted = ServerOptions(options.http_port, options.profile, configuration_digest(state))
    server, is_new = ensure_server(wanted, state)
    say(f"web server {'started' if is_new else 'runs already'} (pid {server.pid}, profile {wanted.profile})")
    if options.monitoring:
        started = ensure_monitoring(options.prometheus_port, options.http_port, require_record(state), state)
        say(f"monitoring started: {', '.join(started)}" if started else "monitoring runs already")
    say("")
    is_healthy = True
    try:
        call_command("check_lag")
    except SystemExit:
        # Its verdict is shown; an unhealthy replica is no reason not to serve.
        is_healthy = False
    print_places(wanted, state, prometheus_port=options.prometheus_port if options.monitoring else None)
    print_next_steps(wanted.port, state, is_healthy=is_healthy)
    return server.pid


def require_apart(options: argparse.Namespace, state: StateDirectory) -> None:
    """Do nothing if no node is to have the application's port.

    Raises:
        Refused: One is; found out later, the nodes would run by then.
    """
    record = load_record(state)
    first = BASE_PORT if options.base_port is None else options.base_port
    first_port = record.nodes[0].port if record and record.nodes else first
    if first_port <= options.http_port < first_port + len(node_names(options, state)):
        raise Refused(
            f"Port {options.http_port} is for HTTP, but the nodes take {first_port} and the next ones. "
            "Choose another with --http-port or --base-port."
        )


def node_names(options: argparse.Namespace, state: StateDirectory) -> list[str]:
    """Of the nodes that there will be."""
    record = load_record(state)
    has = [node.name for node in record.nodes] if record else []
    wanted = 1 + (REPLICAS if options.replicas is None else options.replicas)
    return [*has, *(f"pg{number}" for number in range(len(has) + 1, wanted + 1))]


def given(options: argparse.Namespace, *names: str) -> list[str]:
    """The options that were given, as they are written."""
    values = {name: getattr(options, name) for name in names}
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def manage(*arguments: str) -> None:
    """Run a command of manage.py in a process group of its own, which hears of Ctrl-C once, from here.

    Raises:
        CalledProcessError: It failed. One that is merely incomplete does not count: what there is can serve.
    """
    code = run_to_its_end([sys.executable, str(PROJECT_DIR / "manage.py"), *arguments]).returncode
    if code not in {ExitCode.DONE, ExitCode.INCOMPLETE}:
        raise subprocess.CalledProcessError(code, arguments)


def print_places(options: ServerOptions, state: StateDirectory, *, prometheus_port: int | None) -> None:
    """Where things are."""
    base = f"http://127.0.0.1:{options.port}"
    prometheus = f"\nPrometheus   http://127.0.0.1:{prometheus_port}" if prometheus_port else ""
    print(
        f"""
application  {base}/v0/api/docs
admin        {base}/admin/
metrics      {base}/metrics{prometheus}
credentials  {state.operator_env} (mode 0600: database roles, seeded users, administrator)
logs         {state.log_dir}"""
    )


def print_next_steps(port: int, state: StateDirectory, *, is_healthy: bool) -> None:
    """What can be done with it at this moment; each line can be pasted into a shell as it is."""
    setting = "" if state.root == PROJECT_DIR / "var" else f"{VARIABLE}={shlex.quote(str(state.root))} "
    manage_py = f"{setting}{from_here(sys.executable)} {from_here(PROJECT_DIR / 'manage.py')}"
    if not is_healthy:
        look = ["diagnose_replication"]
    elif len(require_record(state).nodes) == 1:
        look = ["check_lag --watch 1"]
    else:
        look = ["check_lag --watch 1", "switchover --dry-run"]
    print("\nTry next:")
    for line in [request(port), *(f"{manage_py} {command}" for command in look)]:
        print(f"  {line}")
    tutorial = from_here(PROJECT_DIR / "docs" / "tutorial" / "replicate-break-promote.md")
    print(f"{tutorial} breaks the primary and brings the system back")


def from_here(path: Path | str) -> str:
    """A path as a shell in this directory takes it."""
    absolute, here = Path(path), Path.cwd()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))


def request(port: int) -> str:
    """A search that finds somebody; without people, what routing thinks of the nodes."""
    person = somebody()
    if person is None:
        return get(f"http://127.0.0.1:{port}/readyz")
    names = {"firstName": person.first_name[:2], "lastName": person.last_name[:2]}
    search = f"http://127.0.0.1:{port}/v0/api/users/search"
    # Where the terminal does not speak UTF-8, the shell would hand other bytes to curl.
    is_readable = shutil.which("curl") is not None and codecs.lookup(sys.stdout.encoding).name == "utf-8"
    if not is_readable:
        return get(f"{search}?{urlencode(names)}")
    options = [f"--data-urlencode {shlex.quote(f'{name}={beginning}')}" for name, beginning in names.items()]
    return f"curl -G {search} {' '.join(options)}"


def get(url: str) -> str:
    """A command that shows the answer."""
    if shutil.which("curl") is not None:
        return f"curl {shlex.quote(url)}"
    program = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
    return f"{from_here(sys.executable)} -c {shlex.quote(program)}"


def somebody() -> User | None:
    """A person who can be found; None also if the primary has just died, which is no reason not to serve."""
    from django.db import DatabaseError

    from management.seeding.load import find_person

    try:
        return find_person()
    except DatabaseError:
        return None


def wait_for_end(server_pid: int, state: StateDirectory) -> None:
    """Block until the web server ends."""
    while (running := running_server(state)) is not None and running.pid == server_pid:
        time.sleep(0.5)


def stop(state: StateDirectory) -> None:
    """Stop monitoring, the web server, then the nodes; deaf to further interrupts, so that it ends in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("\nstopping")
    if stop_monitoring(state):
        say("monitoring stopped")
    if stop_server(state):
        say("web server stopped")
    record = load_record(state)
    if record is not None:
        stop_local(record, state, say=say)


if __name__ == "__main__":
    code = main()
    if code == INTERRUPTED:
        # Everything has ended in order. If an extension has printed the interrupt on its way, sys.exit() would not end
        # this process with the code, but with the signal.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
