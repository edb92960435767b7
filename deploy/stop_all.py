"""Stops what runs for a state directory: monitoring, the web server, the nodes. Started by `deploy/stop-all`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from deploy.console import add_state_option, say
from management.errors import OperationError, Refused
from management.exit_codes import ExitCode
from management.host import SHARED_HOME
from management.monitoring import monitoring_homes, stop_monitoring
from management.record import ClusterRecord, load_record
from management.server import stop_server
from management.setup import stop_local
from management.state import StateDirectory
from management.streams import prepare_streams


def main() -> int:
    """Stop; with --destroy also delete, after asking."""
    prepare_streams(sys.stdout, sys.stderr)
    options = parse()
    state = StateDirectory(Path(options.state).absolute())
    try:
        record = load_record(state)
        if record is not None and options.destroy:
            confirm(record, state, no_input=options.no_input)
        if stop_monitoring(state):
            say("monitoring stopped")
        if stop_server(state):
            say("web server stopped")
        if record is None:
            require_no_nodes(state)
            say(f"{state.root} holds no cluster; nothing to stop")
            return ExitCode.DONE
        stop_local(record, state, say=say)
        if options.destroy:
            destroy(record, state)
            say(f"the data, secrets and logs of {state.root} are deleted")
    except OperationError as error:
        say(f"stop-all: {error}")
        return error.exit_code
    return ExitCode.DONE


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="stop-all", description="Stop what start-all started.")
    add_state_option(parser)
    parser.add_argument("--destroy", action="store_true", help="also delete its data, secrets and logs, after asking")
    parser.add_argument("--no-input", action="store_true", help="do not ask before --destroy")
    return parser.parse_args()


def confirm(record: ClusterRecord, state: StateDirectory, *, no_input: bool) -> None:
    """Ask for the one word that cannot be typed by accident."""
    if no_input:
        return
    if not sys.stdin.isatty():
        raise Refused("There is no terminal to ask on. Nothing was deleted. Add --no-input to delete without asking.")
    names = ", ".join(node.name for node in record.nodes)
    if (
        input(
            f"This deletes the nodes {names} of {state.root}, and data put aside, for ever. Type destroy to go on: "
        ).strip()
        != "destroy"
    ):
        raise Refused("Not confirmed; nothing was stopped or deleted.")


def require_no_nodes(state: StateDirectory) -> None:
    """Do nothing if there is no node's data either.

    Raises:
        Refused: There is, but not the record that says what it is.
    """
    data = [path.parent for path in (state.root / "nodes").glob("*/PG_VERSION")]
    if data:
        names = ", ".join(str(path) for path in data)
        raise Refused(
            f"{state.record} is missing, but there are nodes: {names}. Restore the file, or stop them with pg_ctl."
        )


def destroy(record: ClusterRecord, state: StateDirectory) -> None:
    """Delete what set-up made, by name; nothing else that may lie there."""
    data = {Path(node.data_dir) for node in record.nodes if node.data_dir}
    # The directory of all nodes, with what set-up put beside them, where it is one that set-up makes.
    homes = {path.parent for path in data if path.parent == state.root / "nodes" or SHARED_HOME in path.parents}
    for path in [*data, *homes, state.log_dir, state.run_dir, state.root / "cache", *monitoring_homes(state)]:
        shutil.rmtree(path, ignore_errors=True)
    for file in (state.application_env, state.operator_env, state.record, state.history):
        file.unlink(missing_ok=True)
    if not any(state.root.iterdir()):
        state.root.rmdir()


if __name__ == "__main__":
    sys.exit(main())
