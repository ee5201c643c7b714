"""The wire: what crosses the bus and the socket of a model process. Data only, never pickle; see docs/wire.md."""
