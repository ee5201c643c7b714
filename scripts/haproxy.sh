#!/bin/sh
# Unpack Debian's HAProxy under build/tools for the tests of the edge; touches nothing of the system and needs no root. Does
# nothing where one is on PATH or unpacked already, and says so where none can be had: the tests then use an edge of their own.
set -eu
cd "$(dirname "$0")/.."

tools=build/tools/haproxy
command -v haproxy >/dev/null && exit 0
[ ! -x "$tools/usr/sbin/haproxy" ] || exit 0
mkdir -p "$tools"
if (cd "$tools" && apt-get -qq -o APT::Sandbox::User= download haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1) \
    >/dev/null 2>&1; then
    for package in "$tools"/*.deb; do
        dpkg-deb -x "$package" "$tools"
    done
    rm "$tools"/*.deb
else
    echo "haproxy: none on PATH and none from apt; the tests use an edge of their own" >&2
fi
