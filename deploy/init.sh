#!/bin/sh
# Prepare deploy/ for `docker compose up`: .env from .env.example, and secrets/ with passwords made at random.
# What is there already stays, so it may be run again at any time; after an upgrade it adds what is new.
set -eu
cd "$(dirname "$0")"

[ -e .env ] || { cp .env.example .env && echo "init: wrote deploy/.env; look through it"; }

# The folder keeps other users out. The files are readable for all, since in its container each service, which is
# nobody that this machine knows, sees only those that it is given.
umask 022
mkdir -p secrets
chmod 700 secrets

random() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

# keep NAME TEXT: unless the file is there
keep() {
    [ -s "secrets/$1" ] || { printf '%s\n' "$2" >"secrets/$1.new" && mv "secrets/$1.new" "secrets/$1"; }
}

for user in gateway batcher runner store; do
    keep "nats_$user" "$(random 24)"
done
# What nats-servers show each other; services have no part in it.
route=$(random 24)
keep nats-routes.conf "cluster_password: \"$route\"
cluster_route: \"nats-route://nats:$route@nats:6222\""
keep s3_access_key vtsserving
keep s3_secret_key "$(random 24)"
# Read-only, for gateway and runner; compose.yaml's setup makes it known to the store.
keep store_token "vts_$(random 8)_$(random 32)"

# The same passwords as nats-server reads them.
for user in gateway batcher runner store; do
    printf '%s_password: "%s"\n' "$user" "$(cat "secrets/nats_$user")"
done >secrets/nats-passwords.conf.new
mv secrets/nats-passwords.conf.new secrets/nats-passwords.conf
echo "init: secrets are in deploy/secrets; keep a copy of s3_access_key and s3_secret_key"
