"""Several nats-servers that are one cluster."""

from __future__ import annotations

from pathlib import Path

from support.nats_server import NatsServer
from support.supervisor import free_port

_CLUSTER = """\
server_name: "nats-{number}"
cluster {{
  name: test
  listen: "127.0.0.1:{port}"
  no_advertise: true
  routes: [{others}]
}}
# The shortest that nats-server takes; with few clients it is seconds.
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
"""


def clustered(folder: Path, count: int, *, extra: str = "") -> list[NatsServer]:
    """Servers, not started, that are one cluster: whoever is connected to one of them hears those of the others.

    They do not tell clients of each other, as in deploy/nats.conf: whoever wants to find all is given all.

    Args:
        folder: an existing folder of the test's own; each server gets one inside of it.
        count: of servers.
        extra: more lines of configuration for each.
    """
    routes = [free_port() for _ in range(count)]
    others = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in routes)
    servers = []
    for number, port in enumerate(routes, 1):
        own = folder / f"nats-{number}"
        own.mkdir()
        cluster = _CLUSTER.format(number=number, port=port, others=others)
        servers.append(NatsServer(own, extra=f"{cluster}\n{extra}"))
    return servers
