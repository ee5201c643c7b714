"""`python -m vtsserving_batcher`: the batcher as a process; `health` checks a running one."""

import sys

from vtsserving_batcher.app import health, main

if __name__ == "__main__":
    sys.exit(health() if sys.argv[1:] == ["health"] else main())
