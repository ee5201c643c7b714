"""Make the store's bucket and the token of gateway and runner. Compose runs it before the store, each time it starts.

Both may be there already; what is there stays.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vtsserving.exceptions import StoreUnavailable, VtsServingException
from vtsserving_store import maintenance
from vtsserving_store.settings import read_settings

TOKEN_FILE = Path("/run/secrets/store_token")
HINT = (
    "; deploy/.env says where it is, S3_ENDPOINT and COMPOSE_PROFILES, and deploy/secrets has its keys, "
    "s3_access_key and s3_secret_key"
)


def main() -> int:
    """Prepare the storage that the store's own settings name; returns the exit code."""
    try:
        settings = read_settings()
        token = TOKEN_FILE.read_text().strip()
        if not token:
            print(f"setup: {TOKEN_FILE} is empty; run deploy/init.sh", file=sys.stderr)
            return 2
        with maintenance.opened(settings) as parts:
            parts.tokens.adopt(token, "services", "pull")
    except StoreUnavailable as error:
        print(f"setup: {error.message}{HINT}", file=sys.stderr)
        return error.exit_code
    except VtsServingException as error:
        print(f"setup: {error.message}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"setup: {TOKEN_FILE} cannot be read ({error.strerror}); run deploy/init.sh", file=sys.stderr)
        return 1
    print(f"setup: the bucket {settings.s3.bucket} is there, and the services' token is known")
    return 0


if __name__ == "__main__":
    sys.exit(main())
