"""A nats-server with the configuration that deploy/ ships, and the passwords of its users."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from support.nats_server import NatsServer
from support.source_tree import REPOSITORY
from support.supervisor import free_port

DEPLOY: Final = REPOSITORY / "deploy"
ROUTE_PASSWORD: Final = "route0123456789"
ROLES: Final = ("gateway", "batcher", "runner", "store")


def password(role: str) -> str:
    """The password of a role's user on the servers of this module."""
    return f"{role}0123456789"


def deployed_nats(folder: Path) -> NatsServer:
    """Prepare a server, not started, with deploy/nats.conf and passwords of its own."""
    config = folder / "nats.conf"
    config.write_text((DEPLOY / "nats.conf").read_text().replace(":8222", f":{free_port()}"))
    lines = [f'{role}_password: "{password(role)}"\n' for role in ROLES]
    (folder / "nats-passwords.conf").write_text("".join(lines))
    return NatsServer(folder, config=config)


def deployed_pair(folder: Path) -> list[NatsServer]:
    """Prepare two servers, not started, with deploy/nats-cluster.conf: as while one replaces the other."""
    routes = [free_port(), free_port()]
    servers = []
    for number, port in enumerate(routes):
        own = folder / f"nats-{number}"
        own.mkdir()
        deployed_nats(own)
        config = own / "nats-cluster.conf"
        text = (DEPLOY / "nats-cluster.conf").read_text()
        config.write_text(text.replace("0.0.0.0:6222", f"127.0.0.1:{port}"))
        # In containers the name stands for both; the one that starts later finds the other.
        other = f"nats-route://nats:{ROUTE_PASSWORD}@127.0.0.1:{routes[0]}"
        (own / "nats-routes.conf").write_text(
            f'cluster_password: "{ROUTE_PASSWORD}"\ncluster_route: "{other}"\n'
        )
        servers.append(NatsServer(own, config=config))
    return servers


def environment(role: str, url: str) -> dict[str, str]:
    """What a service needs to be let in as its role."""
    return {
        "VTSSERVING_NATS_URL": url,
        "VTSSERVING_NATS_USER": role,
        "VTSSERVING_NATS_PASSWORD": password(role),
    }


def permissions() -> dict[str, dict[str, list[str]]]:
    """What deploy/nats.conf allows: role -> publish or subscribe -> patterns."""
    text = (DEPLOY / "nats.conf").read_text()
    found = re.findall(
        r"user: (\w+)\n.*?publish: \[(.*?)\]\n\s*subscribe: \[(.*?)\]", text, re.DOTALL | re.MULTILINE
    )
    return {
        role: {"publish": re.findall(r'"(.*?)"', publish), "subscribe": re.findall(r'"(.*?)"', subscribe)}
        for role, publish, subscribe in found
    }
