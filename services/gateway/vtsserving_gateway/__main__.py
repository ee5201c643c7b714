"""`python -m vtsserving_gateway` serves; `python -m vtsserving_gateway health` exits 0 if it is ready, else 1."""

from __future__ import annotations

import sys

from vtsserving_gateway.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
