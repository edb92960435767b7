"""Strings the commands together: set up, migrate, seed, serve. Started by `deploy/start-all`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from django.core.management import CommandError, call_command

from deploy.console import add_state_option, say
from management.errors import OperationError
from management.exit_codes import INTERRUPTED, ExitCode
from management.local_plan import REPLICAS
from management.monitoring import PORT, ensure_monitoring, require_monitoring, stop_monitoring
from management.ports import require_free_port
from management.processes import hear_termination, run_to_its_end
from management.record import load_record, require_record
from management.server import ServerOptions, configuration_digest, ensure_server, running_server, stop_server
from management.setup import stop_local
from management.state import PROJECT_DIR, VARIABLE, StateDirectory


def main() -> int:
    """Start everything; stay until Ctrl-C, or leave it running with --detach."""
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
    parser.add_argument("--users", type=int, default=1_000_000, metavar="N", help="users to seed (default: 1,000,000)")
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
    if options.users < 0:
        parser.error(f"--users {options.users} is negative")
    return options


def start(options: argparse.Namespace, state: StateDirectory) -> int:
    """Bring everything up and return the pid of the web server."""
    running = running_server(state)
    if running is None or running.options.port != options.http_port:
        require_free_port(options.http_port, purpose="HTTP", option="--http-port")
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
    if options.users:
        call_command("seed_users", count=options.users, if_empty=True)
    call_command("ensure_admin")
    wanted = ServerOptions(options.http_port, options.profile, configuration_digest(state))
    server, is_new = ensure_server(wanted, state)
    say(f"web server {'started' if is_new else 'runs already'} (pid {server.pid}, profile {wanted.profile})")
    if options.monitoring:
        started = ensure_monitoring(options.prometheus_port, options.http_port, require_record(state), state)
        say(f"monitoring started: {', '.join(started)}" if started else "monitoring runs already")
    say("")
    # Its verdict is shown; an unhealthy replica is no reason not to serve.
    with contextlib.suppress(SystemExit):
        call_command("check_lag")
    print_next_steps(wanted, state, prometheus_port=options.prometheus_port if options.monitoring else None)
    return server.pid


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


def print_next_steps(options: ServerOptions, state: StateDirectory, *, prometheus_port: int | None) -> None:
    """Where things are, and what to do with them."""
    base = f"http://127.0.0.1:{options.port}"
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(PROJECT_DIR) else sys.executable
    prometheus = f"\nPrometheus   http://127.0.0.1:{prometheus_port}" if prometheus_port else ""
    setting = "" if state.root == PROJECT_DIR / "var" else f"{VARIABLE}={state.root} "
    print(
        f"""
application  {base}/v0/api/docs
admin        {base}/admin/
metrics      {base}/metrics{prometheus}
credentials  {state.operator_env} (mode 0600: database roles, seeded users, administrator)
logs         {state.log_dir}

Try next:
  curl -G {base}/v0/api/users/search --data-urlencode firstName=Ан --data-urlencode lastName=Ив
  {setting}{python} manage.py check_lag --watch 1
  {setting}{python} manage.py promote_replica --dry-run
  docs/tutorial/replicate-break-promote.md breaks the primary and brings the system back"""
    )
    sys.stdout.flush()


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
    sys.exit(main())
