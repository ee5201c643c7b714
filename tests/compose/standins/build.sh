#!/bin/sh
# Stand-ins, made of Debian packages, for the images that deploy/compose.yaml takes from a registry: for machines that
# have a container engine and a Debian mirror, but no registry. Run as root on Debian; needs mmdebstrap and docker.
#
#   tests/compose/standins/build.sh           makes those that are missing
#   tests/compose/standins/build.sh --remove  removes them
#
# What each one is: Debian's Python for the base of our images, Debian's haproxy and nats-server, and for the S3 server
# Ceph's radosgw with one OSD, which keeps its objects in the volume as the image that it stands for does.
# Images that were pulled under the same names are left as they are.
set -eu
cd "$(dirname "$0")"

python=python:3.11-slim-bookworm
tools=vtsserving-standins:trixie
setting() { sed -n "s/^$1=//p" ../../../deploy/.env.example; }
edge=$(setting EDGE_IMAGE)
nats=$(setting NATS_IMAGE)
s3=$(setting S3_IMAGE)

label=vtsserving.standin
if [ "${1:-}" = --remove ]; then
    for image in "$edge" "$nats" "$s3" "$tools" "$python"; do
        if [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null)" = yes ]; then
            docker image rm "$image"
        fi
    done
    exit 0
fi

missing() { ! docker image inspect "$1" >/dev/null 2>&1; }
mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# rootfs SUITE PACKAGES [MMDEBSTRAP OPTION...]: a minimal Debian in $work/root.tar
rootfs() {
    suite=$1 packages=$2
    shift 2
    # A network that signs TLS anew: the images trust what this machine trusts.
    for certificate in /usr/local/share/ca-certificates/*.crt; do
        [ ! -e "$certificate" ] || set -- "$@" --customize-hook="copy-in $certificate /usr/local/share/ca-certificates"
    done
    TMPDIR=$work mmdebstrap --quiet --variant=minbase --include="ca-certificates,$packages" \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$@" --customize-hook='chroot "$1" update-ca-certificates' \
        "$suite" "$work/root.tar" "$mirror"
}

path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if missing "$python"; then
    echo "standins: $python"
    rootfs bookworm netbase,tzdata,python3,python3-venv,python3-pip \
        --customize-hook='ln -s /usr/bin/python3 "$1"/usr/local/bin/python; rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED'
    certificates=/etc/ssl/certs/ca-certificates.crt
    docker import -c "ENV PATH=$path" -c "ENV LANG=C.UTF-8" -c "ENV PIP_CERT=$certificates" -c "LABEL $label=yes" \
        -c 'CMD ["python3"]' "$work/root.tar" "$python" >/dev/null
fi
if missing "$tools"; then
    echo "standins: packages of haproxy, nats-server and radosgw"
    rootfs trixie haproxy,nats-server,wget,ceph-mon,ceph-osd,radosgw,ceph-common
    docker import -c "ENV PATH=$path" -c "ENV LANG=C.UTF-8" -c "LABEL $label=yes" "$work/root.tar" "$tools" >/dev/null
fi
for one in "$edge edge" "$nats nats" "$s3 s3"; do
    image=${one% *} target=${one#* }
    if missing "$image"; then
        echo "standins: $image"
        docker build --quiet --target "$target" --build-arg "TOOLS=$tools" --tag "$image" . >/dev/null
    fi
done
