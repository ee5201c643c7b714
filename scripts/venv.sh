#!/bin/sh
# Create .venv with a suitable Python and install the package, once per state of pyproject.toml.
# usage: scripts/venv.sh demo|test        PYTHON=/path/to/python3.12 picks the interpreter
set -eu
cd "$(dirname "$0")/.."

case ${1:-} in
demo) extras=sklearn ;;
test) extras=test,dev,sklearn,pandas,image ;;
*) echo "usage: scripts/venv.sh demo|test" >&2; exit 2 ;;
esac

fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))'

find_python() {
    without_venv=
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python3.14; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        "$candidate" -c "$fits" 2>/dev/null || continue
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        echo "setup: $without_venv has no venv module; run: apt-get install python3-venv" >&2
    else
        echo "setup: no Python 3.10 to 3.14 found; run: apt-get install python3 python3-venv" \
            "(or name one: make PYTHON=/path/to/python3.12)" >&2
    fi
    return 1
}

# The folder is part of the key: scripts in a virtual environment name it and break when the checkout moves.
key=$( (pwd; cat pyproject.toml libs/common/vtsserving/version.py) | sha256sum | cut -c1-16)
stamp=.venv/.installed-$1-$key
if [ -e "$stamp" ] && .venv/bin/python -c "$fits" 2>/dev/null; then
    exit 0
fi

if ! .venv/bin/python -c "$fits" 2>/dev/null || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || exit 1
    echo "setup: creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || { echo "setup: '$python -m venv .venv' failed; run: apt-get install python3-venv" >&2; exit 1; }
fi

echo "setup: installing vtsserving[$extras] into .venv"
log=.venv/install.log
if ! .venv/bin/python -m pip --disable-pip-version-check install --quiet --editable ".[$extras]" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "setup: pip install failed; the whole log is $log: fix the cause (network? disk?) and run make again" >&2
    exit 1
fi
rm -f .venv/.installed-"$1"-*
touch "$stamp"
