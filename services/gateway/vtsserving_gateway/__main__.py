"""`python -m vtsserving_gateway`: the gateway as a process; `health` checks a running one."""

import sys

from vtsserving_gateway.app import health, main

if __name__ == "__main__":
    sys.exit(health() if sys.argv[1:] == ["health"] else main())
