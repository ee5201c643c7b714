#!/bin/sh
# Replace the containers of services by new ones of the present images and settings, losing no request: for each
# service, as many new ones are started beside the old ones, and when they are healthy the old ones drain and end.
# New ones that do not get healthy are removed, and the ends of their logs are shown; the old ones go on.
#
#   deploy/roll.sh                      store, batcher, runner, gateway, nats, in this order
#   deploy/roll.sh runner gateway       only these
#   deploy/roll.sh edge                 the edge reads haproxy.cfg again; its container stays, since it has the ports
#   deploy/roll.sh --beside             nats, then a whole new set beside the old one, and only then the old one ends: for
#                                       a release that speaks another version of the wire (docs/compatibility.md)
#
# For an upgrade, build or pull the new images first: docker compose -f deploy/compose.yaml build
set -eu
cd "$(dirname "$0")"
beside=no
if [ "${1-}" = --beside ]; then
    beside=yes
    [ $# -eq 1 ] || { echo "roll: --beside replaces everything, so it takes no names of services" >&2; exit 2; }
    set -- store batcher runner runner-cuda gateway
fi
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
    # Those of the services before it, where a whole set was to take over; gateways first, which may have requests.
    for container in $fresh; do
        docker stop "$container" >/dev/null
        docker rm "$container" >/dev/null
    done
    exit 1
}

# The version of the wire that a container's image speaks. Asked of the image: what nats-server refuses does not stay up.
wire_of() {
    docker run --rm --network none --entrypoint python "$(docker inspect --format '{{.Image}}' "$1")" \
        -c 'from vtsserving.wire.limits import PROTOCOL_VERSION; print(PROTOCOL_VERSION)' || true
}

# check_wire SERVICE NEW OLD: services of one set speak one version. Whoever replaces them one by one would part them.
check_wire() {
    # One of each: those that were started together are of one image.
    new_wire=$(wire_of "${2%% *}") old_wire=$(wire_of "${3%% *}")
    [ "$new_wire" != "$old_wire" ] || return 0
    echo "roll: the new $1 speaks version $new_wire of the wire, the old one version $old_wire;" \
        "take the whole set at once: deploy/roll.sh --beside" >&2
    return 1
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

# bring_up SERVICE: start as many new ones as there are and return when they are healthy, with their ids in $new and those of
# the old ones in $old.
bring_up() {
    # shellcheck disable=SC2046 # words on one line; those that somebody stopped, too, which `up` starts again
    old=$(echo $(docker compose ps --all --quiet "$1"))
    count=$(echo "$old" | wc -w)
    [ -n "$(docker compose ps --quiet "$1")" ] || { echo "roll: no $1 runs; start it: $compose up -d $1" >&2; exit 1; }
    [ "$1" != nats ] || check_nats "$old"
    echo "roll: $1: $count new beside $count old"
    start_beside "$1" $((2 * count)) ||
        give_up "$1" "$(those_beside "$1" "$old")"
    # shellcheck disable=SC2046
    new=$(echo $(those_beside "$1" "$old"))
    [ "$1" = nats ] || [ $beside = yes ] || check_wire "$1" "$new" "$old" || give_up "$1" "$new"
    all_healthy "$new" || give_up "$1" "$new"
    [ "$1" != nats ] || join_nats "$new" "$old" || give_up "$1" "$new"
}

# How many gateways are healthy.
healthy_gateways() {
    for container in $(docker compose ps --quiet gateway); do
        docker inspect --format '{{.State.Health.Status}}' "$container"
    done | grep -c '^healthy$' || true
}

# How many gateways the edge sends requests to.
gateways_of_edge() {
    docker exec "$1" wget -q -O - http://127.0.0.1:8404/metrics |
        sed -n 's/^haproxy_backend_active_servers{proxy="gateways"} //p'
}

# Return when the edge sends requests to all gateways that are healthy.
await_edge() {
    edge=$(docker compose ps --quiet edge)
    [ -n "$edge" ] || return 0 # something else stands in front
    tries=0
    until sees=$(gateways_of_edge "$edge") && [ "${sees:-0}" -ge "$(healthy_gateways)" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 60 ]; then
            echo "roll: the edge does not take up the new gateways" >&2
            return 1
        fi
        sleep 0.5
    done
}

# A whole set beside the old one. Gateways come last, and are ready only with batchers of their own version: so the edge moves
# when everything behind them is there. The old ones leave in the other direction.
fresh='' leaving=''
if [ $beside = yes ]; then
    bring_up nats
    for container in $old; do
        retire nats "$container"
    done
    for service; do
        [ "$service" != runner-cuda ] || [ -n "$(docker compose ps --quiet runner-cuda 2>/dev/null)" ] || continue
        bring_up "$service"
        fresh="$new $fresh"
        for container in $old; do
            leaving="$service:$container $leaving"
        done
    done
    await_edge || give_up gateway ""
    for one in $leaving; do
        retire "${one%%:*}" "${one#*:}"
    done
    echo "roll: done"
    exit 0
fi

for service; do
    case $service in
    gateway | batcher | runner | runner-cuda | store | nats) ;;
    edge) docker compose kill --signal USR2 edge; continue ;;
    *) echo "roll: $service cannot be rolled; choose nats, store, batcher, runner, runner-cuda, gateway or edge" >&2; exit 2 ;;
    esac
    bring_up "$service"
    for container in $old; do
        retire "$service" "$container"
    done
done
echo "roll: done"
