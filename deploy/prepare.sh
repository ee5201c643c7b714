# Prepare an image to run a service: sh prepare.sh [EXTRAS]
# Makes the user, its home, and installs the system libraries that extras need and the Python image lacks.
set -eu

if ! getent group 10001 >/dev/null; then
    groupadd --gid 10001 vts
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/vtsserving --shell /usr/sbin/nologin vts
    mkdir -p /var/lib/vtsserving
    chown 10001:10001 /var/lib/vtsserving
fi

case ,${1:-}, in
*,lightgbm,*)
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends libgomp1 >/dev/null
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
    ;;
esac
