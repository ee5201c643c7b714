"""`python -m vtsserving_cli` is the console script."""

from __future__ import annotations

from vtsserving_cli.main import main

main()
