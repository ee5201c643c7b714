"""Make the store's bucket if it is not there. Compose runs it once, before the store service starts."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

from minio import Minio
from minio.error import S3Error


def main() -> int:
    """Create the bucket that the store's own settings name; a bucket that exists is fine."""
    endpoint = urlsplit(os.environ["VTSSERVING_S3__ENDPOINT"])
    bucket = os.environ["VTSSERVING_S3__BUCKET"]
    client = Minio(
        endpoint.netloc,
        access_key=os.environ["VTSSERVING_S3__ACCESS_KEY"],
        secret_key=os.environ["VTSSERVING_S3__SECRET_KEY"],
        secure=endpoint.scheme == "https",
    )
    try:
        client.make_bucket(bucket)
    except S3Error as error:
        if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            print(f"cannot create the bucket {bucket}: {error}", file=sys.stderr)
            return 1
    print(f"bucket {bucket} is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
