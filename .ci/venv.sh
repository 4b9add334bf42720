# The virtual environment that ./demo and ./check work in. Sourced by them, from the project's root.
#
# make_venv EXTRAS   makes $venv whole: creates it, installs the project as ".EXTRAS" in editable
#                    form, and leaves a stamp. A whole one is left alone; one that an interrupted
#                    run left half made is made anew; one of the user's own is added to.
# Sets $run_python.  SCANSMITH_VENV names another folder than .venv, PYTHON another interpreter.

venv=${SCANSMITH_VENV:-.venv}
# The build that the project is tested with. Without the pin, a later one would be fetched.
torch="torch==2.13.0"

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    stop "python: none of version 3.11 or newer with the venv module found." \
        "Install it (Debian and Ubuntu: also python3-venv), or set PYTHON to its path."
}

locate() {
    run_python=$venv/bin/python
    if [ ! -e "$run_python" ] && [ -e "$venv/Scripts/python.exe" ]; then
        run_python=$venv/Scripts/python.exe # Git Bash on Windows
    fi
}

has_pip() {
    locate
    "$run_python" -m pip --version >/dev/null 2>&1
}

make_venv() {
    extras=$1
    project=$({ cat pyproject.toml && pwd; } | cksum)
    stamp=$venv/scansmith-installed
    busy=$venv/scansmith-unfinished
    locate
    if [ ! -e "$busy" ] && [ -e "$stamp" ] && has_pip &&
        { grep -qxF "$project $extras" "$stamp" || grep -qxF "$project [dev]" "$stamp"; }; then
        return
    fi
    if [ -e "$busy" ]; then
        other=$(cat "$busy") # numbers are given again, so look at the name too
        if [ "$other" != $$ ] && ps -p "$other" -o args= 2>/dev/null | grep -qE 'demo|check|run'; then
            stop "$venv: process $other is setting it up. Wait for it, or end it, and run again."
        fi
        echo "$venv: left unfinished by an interrupted run; making it anew"
        rm -rf "$venv"
    fi
    base=$(find_python)
    owner=theirs # never delete an environment that we did not make
    if [ ! -e "$venv" ] || grep -qx ours "$stamp" 2>/dev/null; then
        owner=ours
        mkdir -p "$venv"
        echo $$ >"$busy"
    fi
    if ! has_pip; then
        echo "$venv: making a virtual environment with $base"
        "$base" -m venv "$venv" || stop "$venv: could not be made. Remove it and run again."
        has_pip || stop "$venv: has no working pip. Remove it and run again."
    fi
    echo "$venv: installing scansmith$extras (minutes the first time)"
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 &&
        [ -z "${PIP_EXTRA_INDEX_URL:-}${PIP_INDEX_URL:-}${PIP_FIND_LINKS:-}" ]; then
        echo "No NVIDIA GPU seen: the README says how to get PyTorch's much smaller CPU build."
    fi
    "$run_python" -m pip install --quiet "$torch"
    "$run_python" -m pip install --quiet --editable ".$extras"
    "$run_python" -c 'import torch, scansmith' ||
        stop "$venv: the installed packages do not work together. Remove it and run again."
    printf '%s\n' "$project $extras" "$owner" >"$stamp"
    rm -f "$busy"
}
