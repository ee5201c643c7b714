"""`python -m vtsserving_embedded`: the child process of `vtsserving.serve(...)`, which reports to its parent."""

from __future__ import annotations

import argparse
import os
import sys

from vtsserving._embedded.report import Ready, send_failure, send_ready
from vtsserving._runtime import config_files, process
from vtsserving._runtime.process import Stop
from vtsserving.exceptions import VtsServingException
from vtsserving_embedded.parent_watch import stop_with_parent
from vtsserving_embedded.serve import Plan, serve
from vtsserving_embedded.targets import sort_targets


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or the parent's end.

    Args:
        argv: as `vtsserving._embedded.server` writes it.

    Returns:
        The exit code: 0 after a stop, the error's own where nothing could be served.
    """
    parser = argparse.ArgumentParser(prog="vtsserving_embedded")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--report-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, default=0)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--service")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--nats")
    given = parser.parse_args(argv)
    report: int = given.report_fd
    # Only this process reports: a model process that held the pipe would hide from the parent that this one ended.
    os.set_inheritable(report, False)

    async def life(stop: Stop) -> None:
        stop_with_parent(given.parent, stop)
        try:
            targets = sort_targets(given.targets, given.model, given.service)
            plan = Plan(targets, given.host, given.port, given.workers, given.nats)
            await serve(plan, stop, ready)
        except VtsServingException as error:
            send_failure(report, error)
            raise

    def ready(found: Ready) -> None:
        send_ready(report, found)

    try:
        config_files.apply()
    except VtsServingException as error:
        send_failure(report, error)
        return error.exit_code
    return process.run("serve", life)


if __name__ == "__main__":
    sys.exit(main())
