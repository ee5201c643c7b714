"""`python -m vtsserving_store`: the store as a process; `health` checks a running one."""

import sys

from vtsserving_store.app import health, main

if __name__ == "__main__":
    sys.exit(health() if sys.argv[1:] == ["health"] else main())
