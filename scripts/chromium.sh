#!/bin/sh
# Make sure that a Chromium is on PATH: the tests of the store's web pages run a real one.
# Installs the Debian package when root; otherwise says in one line what to do.
set -eu

there() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; }

if there; then
    exit 0
fi
# Ubuntu's package of that name only fetches a snap, which does not run in containers.
id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}" || true)
if [ "$(id -u)" -ne 0 ] || [ "$id" != debian ]; then
    echo "setup: no chromium or google-chrome on PATH; install one (Debian: sudo apt-get install chromium)" >&2
    exit 1
fi
echo "setup: installing chromium"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium >"$log" 2>&1; }
if ! install && ! { apt-get update >"$log" 2>&1 && install; }; then
    tail -n 5 "$log" >&2
    echo "setup: could not install chromium; run: apt-get update && apt-get install chromium" >&2
    exit 1
fi
there || { echo "setup: chromium was installed but is not on PATH" >&2; exit 1; }
