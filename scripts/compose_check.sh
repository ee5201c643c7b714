#!/bin/sh
# Check deploy/compose.yaml with Docker Compose 2 (`config -q`: needs neither a daemon nor an image).
# Uses the Compose that is installed; else unpacks Debian's package under build/tools, touching nothing of the system.
# Where none can be had it says so, and fails only when CI is set.
set -eu
cd "$(dirname "$0")/.."

tools=build/tools
unpacked=$tools/compose/usr/libexec/docker/cli-plugins/docker-compose

compose_command() {
    if docker compose version >/dev/null 2>&1; then
        echo "docker compose"
    elif docker-compose version --short 2>/dev/null | grep -q '^v\{0,1\}[2-9]'; then
        echo docker-compose
    elif [ -x "$unpacked" ]; then
        echo "$unpacked"
    fi
}

# Bookworm has Compose 1 only; trixie's 2.26 needs no more than bookworm's libc. Own lists, cache and sources: the system's
# apt state stays as it is, and no root is needed.
fetch_debian() {
    mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
    [ -n "$mirror" ] || mirror=$(awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list)
    apt=$PWD/$tools/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
    set -- -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$apt/lists" \
        -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User= -o Acquire::Languages=none
    apt-get "$@" -qq update
    (cd "$apt" && apt-get "$@" -qq download docker-compose)
    dpkg-deb -x "$apt"/docker-compose_*.deb "$tools/compose"
}

fetch_ubuntu() {
    mkdir -p "$tools/apt"
    (cd "$tools/apt" && apt-get -qq download docker-compose-v2)
    dpkg-deb -x "$tools"/apt/docker-compose-v2_*.deb "$tools/compose"
}

command=$(compose_command)
if [ -z "$command" ]; then
    echo "compose: fetching Docker Compose into $tools"
    mkdir -p "$tools"
    id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}" || true)
    case $id in
    debian) (set -e; fetch_debian) >"$tools/compose.log" 2>&1 || true ;;
    ubuntu) (set -e; fetch_ubuntu) >"$tools/compose.log" 2>&1 || true ;;
    esac
    command=$(compose_command)
fi
if [ -z "$command" ]; then
    echo "compose: deploy/compose.yaml was NOT checked: no Docker Compose 2 here; install it (docker-compose-plugin) to check" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi
for env_file in deploy/.env.example; do
    # shellcheck disable=SC2086 # the command may be two words
    $command --env-file "$env_file" -f deploy/compose.yaml config -q ||
        { echo "compose: deploy/compose.yaml is not valid with $env_file" >&2; exit 1; }
done
echo "compose: deploy/compose.yaml is valid ($($command version --short))"
