"""`python -m vtsserving_runner`: the runner as a process; `health` checks a running one."""

import sys

if __name__ == "__main__":
    # Before the service's own modules: a check every few seconds must not cost what a start costs.
    if sys.argv[1:] == ["health"]:
        from vtsserving._runtime.health_check import check_service

        sys.exit(check_service("runner"))
    from vtsserving_runner.app import main

    sys.exit(main())
