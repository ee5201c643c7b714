#!/bin/sh
# Replace the containers of services by new ones of the present images and settings, losing no request: for each
# service, as many new ones are started beside the old ones, and when they are healthy the old ones drain and end.
# New ones that do not get healthy are removed, and the ends of their logs are shown; the old ones go on.
#
#   deploy/roll.sh                      store, batcher, runner, gateway, nats, in this order
#   deploy/roll.sh runner gateway       only these
#   deploy/roll.sh edge                 the edge reads haproxy.cfg again; its container stays, since it has the ports
#
# For an upgrade, build or pull the new images first: docker compose -f deploy/compose.yaml build
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- store batcher runner gateway nats
compose="docker compose -f deploy/compose.yaml" # as it is typed, for messages

# Of a nats-server, what its monitoring says: varz, routez.
ask_nats() { docker exec "$1" wget -q -O - "http://127.0.0.1:8222/$2"; }

# Two that do not know each other would part the services into two halves.
check_nats() {
    for container in $1; do
        ask_nats "$container" varz | grep -q '"cluster_port"' && continue
        echo "roll: nats runs without nats-cluster.conf; start it anew once, in a short outage: $compose up -d nats" >&2
        return 1
    done
}

id_of_nats() { ask_nats "$1" varz | sed -n 's/.*"server_id": "\([^"]*\)".*/\1/p'; }

# know_each_other ONE OTHER: each lists a route to the other. One of them alone may do so for a moment before its password
# is refused.
know_each_other() {
    ask_nats "$1" routez | grep -q "\"remote_id\": \"$(id_of_nats "$2")\"" &&
        ask_nats "$2" routez | grep -q "\"remote_id\": \"$(id_of_nats "$1")\""
}

# all_know_each_other NEW OLD
all_know_each_other() {
    for one in $1; do
        for other in $2; do
            know_each_other "$one" "$other" || return 1
        done
    done
}

# join_nats NEW OLD: return when all of these nats-servers hear each other, and go on to.
join_nats() {
    tries=0 joined=0
    while [ $joined -lt 3 ]; do
        if all_know_each_other "$1" "$2"; then joined=$((joined + 1)); else joined=0; fi
        tries=$((tries + 1))
        if [ $tries -gt 30 ]; then
            echo "roll: the new nats and the old one do not reach each other" >&2
            return 1
        fi
        sleep 0.5
    done
}

# keep_scale VARIABLE SERVICE: `up` looks after what a service depends on, too, and shall leave as many as there are.
keep_scale() {
    running=$(docker compose ps --quiet "$2" | wc -w)
    [ "$running" -eq 0 ] || export "$1=$running"
}

# start_beside SERVICE COUNT: have that many of a service, leaving those that run as they are.
# Not with --no-deps, which Compose notes in containers as if they had been configured otherwise: the next `up` would make
# them anew, and all that depend on them. Nothing is built or pulled: a tag that does not exist would become a name of the
# present sources, and what others are to run is not asked for here. What runs once before the store is of its new image.
start_beside() {
    keep_scale STORE_REPLICAS store
    keep_scale BATCHER_REPLICAS batcher
    keep_scale RUNNER_REPLICAS runner
    [ "$1" != store ] || docker compose rm --force setup >/dev/null 2>&1
    docker compose up -d --no-build --pull never --no-recreate --scale "$1=$2" "$1"
}

# those_beside SERVICE OLD: its containers that are not among the old ones; also those that never started.
those_beside() {
    for container in $(docker compose ps --all --quiet "$1"); do
        case " $2 " in
        *" $container "*) ;;
        *) echo "$container" ;;
        esac
    done
}

# Return when a container is healthy; fail when it is not going to be. Of the new ones only: an old one that is ill must not
# keep those that replace it from doing so, as `up --wait` would.
await_health() {
    while :; do
        case $(docker inspect --format '{{.State.Status}} {{.State.Health.Status}} {{.RestartCount}}' "$1") in
        "running healthy "*) return ;;
        "running starting 0") sleep 0.2 ;;
        *) return 1 ;;
        esac
    done
}

all_healthy() {
    for container in $1; do
        await_health "$container" || return 1
    done
}

# give_up SERVICE NEW: show why, and leave the old ones as they were.
give_up() {
    echo "roll: the new containers of $1 cannot take over and are removed; the old ones go on" >&2
    for container in $2; do
        docker logs --tail 5 "$container" >&2 2>&1 # both of its streams
        docker rm --force "$container" >/dev/null
    done
    exit 1
}

# Let a container finish what it took, and remove it.
retire() {
    if [ "$1" = nats ]; then
        # As a lame duck, which ends by itself; `docker stop` would cut all clients off at once.
        docker update --restart no "$2" >/dev/null
        docker kill --signal USR2 "$2" >/dev/null
        docker wait "$2" >/dev/null
    else
        docker stop "$2" >/dev/null
    fi
    docker rm "$2" >/dev/null
}

for service; do
    case $service in
    gateway | batcher | runner | runner-cuda | store | nats) ;;
    edge) docker compose kill --signal USR2 edge; continue ;;
    *) echo "roll: $service cannot be rolled; choose nats, store, batcher, runner, runner-cuda, gateway or edge" >&2; exit 2 ;;
    esac
    # shellcheck disable=SC2046 # words on one line; those that somebody stopped, too, which `up` starts again
    old=$(echo $(docker compose ps --all --quiet "$service"))
    count=$(echo "$old" | wc -w)
    [ -n "$(docker compose ps --quiet "$service")" ] || { echo "roll: no $service runs; start it: $compose up -d $service" >&2; exit 1; }
    [ "$service" != nats ] || check_nats "$old"
    echo "roll: $service: $count new beside $count old"
    start_beside "$service" $((2 * count)) ||
        give_up "$service" "$(those_beside "$service" "$old")"
    new=$(those_beside "$service" "$old")
    all_healthy "$new" || give_up "$service" "$new"
    [ "$service" != nats ] || join_nats "$new" "$old" || give_up "$service" "$new"
    for container in $old; do
        retire "$service" "$container"
    done
done
echo "roll: done"
