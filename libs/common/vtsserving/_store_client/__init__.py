"""The client of a store service: push, pull, aliases, settings, contexts."""
