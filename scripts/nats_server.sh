#!/bin/sh
# Make sure that nats-server is on PATH: the tests and `make demo-nats` run a real one.
# Installs the Debian package when root; otherwise says in one line what to do.
set -eu

if command -v nats-server >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: nats-server is not on PATH; run: sudo apt-get install nats-server" \
        "(or put the binary from https://github.com/nats-io/nats-server/releases on PATH)" >&2
    exit 1
fi
echo "setup: installing nats-server"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nats-server >"$log" 2>&1; }
if ! install && ! { apt-get update >"$log" 2>&1 && install; }; then
    tail -n 5 "$log" >&2
    echo "setup: could not install nats-server; run: apt-get update && apt-get install nats-server" >&2
    exit 1
fi
# The package starts a server of its own at once where an init system runs; ours are separate and on free ports.
command -v nats-server >/dev/null 2>&1 || { echo "setup: nats-server was installed but is not on PATH" >&2; exit 1; }
