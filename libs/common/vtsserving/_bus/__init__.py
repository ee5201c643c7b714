"""The message bus between gateway, batcher and runner.

- interface: what every bus promises; the services use nothing else
- inprocess: the bus of the embedded mode, all in one process
- nats: the bus of the distributed mode, over a nats-server; its parts are
  nats_connection, nats_socket, nats_parser and nats_transport, which alone touches nats-py
- requests: request and reply on top of either
"""

from __future__ import annotations

from vtsserving._bus.interface import NO_RESPONDERS, Bus, Handler, Message, StateCallback, Subscription

__all__ = ["NO_RESPONDERS", "Bus", "Handler", "Message", "StateCallback", "Subscription"]
