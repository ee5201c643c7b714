"""The store of this machine: models in folders, versions, aliases, settings, and how a process finds models."""
