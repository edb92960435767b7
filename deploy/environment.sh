# Sourced by the scripts beside it: finds Python, makes the virtual environment, installs what is pinned.
# Sets ROOT and PYTHON. Does nothing when the environment is up to date.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${HIGHLOAD_VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${HIGHLOAD_PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "No Python 3.11 or newer was found. Install one (Debian, Ubuntu: apt-get install python3 python3-venv),"
    say "or name it in HIGHLOAD_PYTHON."
    return 1
}

# ensure_environment REQUIREMENTS_FILE...
ensure_environment() {
    local stamp base file
    stamp=$VENV/.installed-$(cd "$ROOT" && cat "$@" constraints.txt | sha256sum | cut -c1-16)
    [ -e "$stamp" ] && return
    if [ ! -x "$PYTHON" ]; then
        base=$(find_python)
        say "Making the virtual environment $VENV with $("$base" --version)"
        if ! "$base" -m venv "$VENV" >/dev/null 2>&1; then
            rm -rf "$VENV"
            say "$base cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"
            return 1
        fi
    fi
    say "Installing the pinned packages (once; a minute or two)"
    for file in "$@"; do set -- "$@" -r "$ROOT/$file" && shift; done
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --constraint "$ROOT/constraints.txt" "$@"
    touch "$stamp"
}
