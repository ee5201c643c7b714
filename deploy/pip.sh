# Install into /opt/vtsserving while an image is built: sh pip.sh ARGUMENTS OF pip install
# Trusts the certificates of the build secret `ca`, where one is given.
set -eu
if [ -s /run/secrets/ca ]; then
    export PIP_CERT=/run/secrets/ca
fi
exec python3 -m pip --python /opt/vtsserving/bin/python install --quiet "$@"
