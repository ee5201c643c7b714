"""The store of this machine: versions in folders, aliases, settings."""
