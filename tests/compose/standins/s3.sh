#!/bin/bash
# An S3 server behind the command line `minio server DIRECTORY`: Ceph's monitor, one OSD and radosgw in one container.
# Port, credentials and the place of the data are those of the image that this stands for. Everything is kept in
# DIRECTORY and found again at the next start, whether the last one ended by a signal or by a crash.
set -euo pipefail
[ "${1:-}" = server ] || { echo "usage: minio server DIRECTORY" >&2; exit 2; }
data=$2/ceph ready=/run/vtsserving-s3-ready
export CEPH_CONF=$data/ceph.conf
rm -f $ready

user=${MINIO_ROOT_USER:-$(cat "${MINIO_ROOT_USER_FILE:-/dev/null}")}
password=${MINIO_ROOT_PASSWORD:-$(cat "${MINIO_ROOT_PASSWORD_FILE:-/dev/null}")}
user=${user:-minioadmin} password=${password:-minioadmin}

write_conf() {
    cat > "$CEPH_CONF" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
run dir = /run
admin socket = /run/\$name.asok
pid file = /run/\$name.pid
log file = $data/log/\$name.log
crash dir = $data/crash
mon host = v1:127.0.0.1:26789
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon osd full ratio = .99
mon osd nearfull ratio = .98
mon osd backfillfull ratio = .98
mon osd down out interval = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
setuser match path = /nonexistent
[mon.a]
mon data = $data/mon
[osd.0]
monmap = $data/monmap
osd data = $data/osd
osd objectstore = bluestore
bluestore block size = 8589934592
osd memory target = 939524096
osd op num shards = 2
osd op num threads per shard = 1
[client.rgw]
monmap = $data/monmap
rgw data = $data/rgw
rgw frontends = beast endpoint=0.0.0.0:9000
rgw thread pool size = 64
rgw override bucket index max shards = 1
rgw dynamic resharding = false
rgw enable usage log = false
rgw run sync thread = false
CONF
}

make_cluster() {
    rm -rf "$data"
    mkdir -p "$data"/{mon,osd,rgw,log,crash}
    write_conf
    monmaptool --create --fsid "$(awk '/^fsid/ {print $3}' "$CEPH_CONF")" --enable-all-features \
        --addv a '[v1:127.0.0.1:26789]' "$data/monmap"
    ceph-mon --id a --mkfs --monmap "$data/monmap"
    ceph-mon --id a
    timeout 60 ceph osd create
    ceph-osd --id 0 --mkfs
    touch "$data/made"
}

# Its first word to the monitor may come too early and end it.
start_osd() {
    for _ in 1 2 3 4 5 6 7 8; do
        if ceph-osd --id 0; then return; fi
        sleep 0.5
    done
    exit 1
}

pid_of() { cat "/run/$1.pid" 2>/dev/null; }

stop_all() {
    for name in client.rgw osd.0 mon.a; do
        pid=$(pid_of $name) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    done
    exit 0
}
trap stop_all TERM INT

rm -f /run/*.pid /run/*.asok
if [ -e "$data/made" ]; then
    ceph-mon --id a
else
    make_cluster > /tmp/make.log 2>&1 || { cat /tmp/make.log >&2; exit 1; }
fi
start_osd
timeout 60 ceph osd crush add osd.0 1 root=default host=localhost >/dev/null 2>&1
until ceph osd stat 2>/dev/null | grep -q '1 up'; do sleep 0.2; done
radosgw -n client.rgw --id rgw
until wget -q -O /dev/null http://127.0.0.1:9000/; do sleep 0.2; done
radosgw-admin -n client.rgw user create --uid=root --display-name=root --access-key="$user" --secret-key="$password" \
    >/dev/null 2>&1 || true
touch $ready
echo "S3 on port 9000, kept in $data"
while kill -0 "$(pid_of client.rgw)" 2>/dev/null && kill -0 "$(pid_of osd.0)" 2>/dev/null; do sleep 0.5 & wait $!; done
echo "a daemon ended; its log is in $data/log" >&2
exit 1
