"""A nats-server with the configuration that deploy/ ships, and the passwords of its users."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from support.nats_server import NatsServer
from support.source_tree import REPOSITORY
from support.supervisor import free_port

DEPLOY: Final = REPOSITORY / "deploy"
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
