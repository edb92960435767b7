# shellcheck shell=bash
# Sourced by the scripts beside it: finds Python, makes the virtual environment, installs what is pinned.
# Sets ROOT, VENV and PYTHON. Does nothing when the environment is up to date.

ROOT=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${HIGHLOAD_VENV:-$ROOT/.venv}
PYTHON=$VENV/bin/python

say() { printf '%s\n' "$*" >&2; }

# quote WORDS: the last lines of what a program said.
quote() { printf '%s\n' "$1" | grep -v '^ *$' | tail -n 6 | cut -c1-200 | sed 's/^/  /' >&2; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    if [ -n "${HIGHLOAD_PYTHON:-}" ]; then
        is_new_enough "$HIGHLOAD_PYTHON" && command -v "$HIGHLOAD_PYTHON" && return
        say "HIGHLOAD_PYTHON=$HIGHLOAD_PYTHON is no Python 3.11 or newer."
        return 1
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        is_new_enough "$candidate" && command -v "$candidate" && return
    done
    say "No Python 3.11 or newer was found. Install one (Debian, Ubuntu: apt-get install python3 python3-venv),"
    say "or name it in HIGHLOAD_PYTHON."
    return 1
}

# After its Python was upgraded or removed, the environment has another one than its packages, or none.
is_sound() { "$PYTHON" -c 'import pip' >/dev/null 2>&1; }

# ensure_environment REQUIREMENTS_FILE...
ensure_environment() {
    local stamp
    stamp=$VENV/.installed-$(versions)-$(cd "$ROOT" && cat "$@" | sha256sum | cut -c1-16)
    is_ready "$stamp" && return
    # Two at once would spoil each other's work. Directories can be locked, too.
    exec 9<"$(dirname "$VENV")"
    flock -n 9 || { say "Waiting for another start, which fills $VENV" && flock 9; }
    is_ready "$stamp" || fill_environment "$stamp" "$@" || return 1
    exec 9<&-
}

versions() { sha256sum <"$ROOT/constraints.txt" | cut -c1-16; }

is_ready() { [ -e "$1" ] && [ ! -e "$VENV/.installing" ] && is_sound; }

# fill_environment STAMP REQUIREMENTS_FILE...
fill_environment() {
    local stamp=$1 file
    shift
    if [ -e "$VENV" ] && [ ! -O "$VENV" ]; then
        say "$VENV belongs to $(stat -c %U "$VENV"), and cannot be used here as it is. Run this as that user, or name"
        say "another directory for the virtual environment in HIGHLOAD_VENV."
        return 1
    fi
    is_sound || make_environment || return 1
    for file in "$@"; do set -- "$@" -r "$ROOT/$file" && shift; done
    install_packages "$@" && touch "$stamp" && rm "$VENV/.installing"
}

make_environment() {
    local base words is_new=
    base=$(find_python) || return 1
    [ -n "$(ls -A "$VENV" 2>/dev/null)" ] || is_new=yes
    # Nothing is cleared that may be somebody's own.
    if [ ! "$is_new" ] && [ ! -e "$VENV/.installing" ] && ! compgen -G "$VENV/.installed-*" >/dev/null; then
        say "$VENV is there, but has no Python that works with its packages. Move it away, or name another directory"
        say "in HIGHLOAD_VENV."
        return 1
    fi
    [ "$is_new" ] || say "The Python of $VENV does not work any more with its packages: it is made anew."
    say "Making the virtual environment $VENV with $("$base" --version)"
    if [ "$is_new" ]; then
        # The mark says, also after an interruption, that it is ours to clear.
        words=$({ mkdir -p "$VENV" && touch "$VENV/.installing" && "$base" -m venv "$VENV"; } 2>&1) && return
    else
        words=$("$base" -m venv --clear "$VENV" 2>&1) && return
    fi
    quote "$words"
    [ ! "$is_new" ] || rm -rf "$VENV" 2>/dev/null
    if "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$base could not make the virtual environment $VENV: see above. Mend that and run this again, or name"
        say "another directory in HIGHLOAD_VENV."
    else
        say "$base cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"
    fi
    return 1
}

# install_packages ARGUMENTS_OF_PIP...: tells what it is at; pip alone is silent for minutes, or talks too much.
install_packages() {
    local line words='' count=0
    say "Installing the pinned packages (once; a minute or two)"
    # Until it is gone, the next run goes on here.
    touch "$VENV/.installing" || return 1
    # Packages of other versions are not there any more afterwards.
    find "$VENV" -maxdepth 1 -name '.installed-*' ! -name ".installed-$(versions)-*" -delete
    while IFS= read -r line; do
        words+=$line$'\n'
        case $line in
        "Collecting "*) line=${line#Collecting } && show_step "package $((count += 1)): ${line%% (from*}" ;;
        "Installing collected packages"*) show_step "unpacking $count packages" ;;
        esac
    done < <("$PYTHON" -m pip install --disable-pip-version-check --no-input --progress-bar=off \
        --constraint "$ROOT/constraints.txt" "$@" 2>&1)
    [ ! -t 2 ] || printf '\r\033[K' >&2
    wait $! && return
    quote "$words"
    say "The packages could not be installed in $VENV: see above. Mend that (network, proxy, free space) and run this"
    say "again: it goes on from there."
    return 1
}

# One line that changes, on a terminal; lines elsewhere.
show_step() {
    if [ -t 2 ]; then printf '\r\033[K  %.70s' "$1" >&2; else say "  $1"; fi
}
