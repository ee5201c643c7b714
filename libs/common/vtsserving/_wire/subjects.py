"""Subjects of the bus, built here and nowhere else.

Grammar (`id` is 16 lower-case hex digits, so nothing a client sends can reach a subject):

    vts.v2.bat.<id>.in              gateway -> that batcher: requests, cancellations, orders
    vts.v2.bat.<id>.event           runner -> that batcher
    vts.v2.gw.<id>.reply.<n>        runner, batcher -> that gateway; n > 0 numbers the gateway's publishes and is where
                                    the bus says that nobody listened; answers go to n = 0, whatever the publish
    vts.v2.run.<id>.batch           batcher -> that runner
    vts.v2.run.<id>.ctl             batcher -> that runner
    vts.v2.run.<id>.unrouted        bus -> that runner: nobody listens where an answer went
    vts.v2.hb.<role>                heartbeats; role is gateway, batcher or runner
    vts.v2.store.changed            store -> all caches
"""

from __future__ import annotations

import re
import secrets
from typing import Final, Literal

Role = Literal["gateway", "batcher", "runner"]

STORE_CHANGED: Final = "vts.v2.store.changed"

_ID = re.compile(r"[0-9a-f]{16}")
_GATEWAY_REPLY = re.compile(r"(vts\.v2\.gw\.[0-9a-f]{16}\.reply\.)[0-9]{1,20}")


def new_id() -> str:
    """A fresh process id for the bus: 16 hex digits, 64 random bits."""
    return secrets.token_hex(8)


def is_id(text: str) -> bool:
    """Whether `text` is a process id; checked before a received id becomes part of a subject."""
    return _ID.fullmatch(text) is not None


def is_gateway_reply(subject: str) -> bool:
    """Whether `subject` is a gateway's reply subject; checked before anything is answered there."""
    return _GATEWAY_REPLY.fullmatch(subject) is not None


def gateway_answers(reply_subject: str) -> str | None:
    """Where answers go for a request that came with `reply_subject`: one subject per gateway; None if it is none."""
    found = _GATEWAY_REPLY.fullmatch(reply_subject)
    return found and found.group(1) + "0"


def batcher_in(batcher_id: str) -> str:
    """Where a batcher takes requests, cancellations and orders."""
    return f"vts.v2.bat.{batcher_id}.in"


def batcher_event(batcher_id: str) -> str:
    """Where a batcher hears of credits, finished batches and refusals."""
    return f"vts.v2.bat.{batcher_id}.event"


def gateway_replies(gateway_id: str) -> str:
    """What a gateway subscribes to for its answers."""
    return f"vts.v2.gw.{gateway_id}.reply.>"


def gateway_reply(gateway_id: str, number: int) -> str:
    """The reply subject of one publish of a gateway; number 0 is where its answers go."""
    return f"vts.v2.gw.{gateway_id}.reply.{number}"


def runner_batch(runner_id: str) -> str:
    """Where a runner takes batches."""
    return f"vts.v2.run.{runner_id}.batch"


def runner_control(runner_id: str) -> str:
    """Where a runner takes load and unload commands."""
    return f"vts.v2.run.{runner_id}.ctl"


def runner_unrouted(runner_id: str) -> str:
    """Where a runner hears that the gateway of an answer is gone."""
    return f"vts.v2.run.{runner_id}.unrouted"


def heartbeat(role: Role) -> str:
    """Where processes of a role say that they are alive."""
    return f"vts.v2.hb.{role}"
