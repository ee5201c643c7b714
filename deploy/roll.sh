#!/bin/sh
# Replace the containers of services by new ones of the present images and settings, losing no request: for each
# service, as many new ones are started beside the old ones, and when they are healthy the old ones drain and end.
#
#   deploy/roll.sh                      store, batcher, runner, gateway, nats, in this order
#   deploy/roll.sh runner gateway       only these
#   deploy/roll.sh edge                 the edge reads haproxy.cfg again; its container stays, since it has the ports
#
# For an upgrade, build or pull the new images first: docker compose -f deploy/compose.yaml build
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- store batcher runner gateway nats

# Of a nats-server, what its monitoring says: varz, routez.
ask_nats() { docker exec "$1" wget -q -O - "http://127.0.0.1:8222/$2"; }

# Two that do not know each other would part the services into two halves.
check_nats() {
    for container in $1; do
        ask_nats "$container" varz | grep -q '"cluster_port"' && continue
        echo "roll: nats runs without nats-cluster.conf; start it anew once, in a short outage: docker compose up -d nats" >&2
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

# join_nats OLD: return when the new nats-servers and the old ones hear each other, and go on to. If they do not, the new
# ones are removed.
join_nats() {
    new=$(docker compose ps --quiet nats)
    for container in $1; do
        new=$(echo "$new" | grep -v "$container")
    done
    tries=0 joined=0
    while [ $joined -lt 3 ]; do
        if all_know_each_other "$new" "$1"; then joined=$((joined + 1)); else joined=0; fi
        tries=$((tries + 1))
        if [ $tries -gt 30 ]; then
            echo "roll: the new nats and the old one do not reach each other; see docker compose logs nats" >&2
            echo "$new" | xargs docker rm --force >/dev/null
            return 1
        fi
        sleep 0.5
    done
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
    old=$(docker compose ps --quiet "$service")
    count=$(echo "$old" | wc -w)
    [ "$count" -gt 0 ] || { echo "roll: no $service runs; start it: docker compose up -d $service" >&2; exit 1; }
    [ "$service" != nats ] || check_nats "$old"
    echo "roll: $service: $count new beside $count old"
    # If the new ones do not get healthy this fails, and the old ones go on.
    docker compose up -d --wait --no-deps --no-recreate --scale "$service=$((2 * count))" "$service"
    [ "$service" != nats ] || join_nats "$old"
    for container in $old; do
        retire "$service" "$container"
    done
done
echo "roll: done"
