"""`python -m vtsserving_store`: the store as a process; `health` checks a running one."""

import sys

if __name__ == "__main__":
    # Before the service's own modules: a check every few seconds must not cost what a start costs.
    if sys.argv[1:] == ["health"]:
        from vtsserving._runtime.health_check import check_service

        sys.exit(check_service("store"))
    from vtsserving_store.app import main

    sys.exit(main())
