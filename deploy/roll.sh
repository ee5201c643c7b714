#!/bin/sh
# Replace the containers of services by new ones of the present images and settings, losing no request: for each
# service, as many new ones are started beside the old ones, and when they are healthy the old ones drain and end.
#
#   deploy/roll.sh                      store, batcher, runner, gateway, in this order
#   deploy/roll.sh runner gateway       only these
#
# For an upgrade, build or pull the new images first: docker compose -f deploy/compose.yaml build
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- store batcher runner gateway

for service; do
    case $service in
    gateway | batcher | runner | runner-cuda | store) ;;
    *) echo "roll: $service cannot be rolled; choose gateway, batcher, runner, runner-cuda or store" >&2; exit 2 ;;
    esac
    old=$(docker compose ps --quiet "$service")
    count=$(echo "$old" | wc -w)
    [ "$count" -gt 0 ] || { echo "roll: no $service runs; start it: docker compose up -d $service" >&2; exit 1; }
    echo "roll: $service: $count new beside $count old"
    # If the new ones do not get healthy this fails, and the old ones go on.
    docker compose up -d --wait --no-deps --no-recreate --scale "$service=$((2 * count))" "$service"
    for container in $old; do
        docker stop "$container" >/dev/null
        docker rm "$container" >/dev/null
    done
done
echo "roll: done"
