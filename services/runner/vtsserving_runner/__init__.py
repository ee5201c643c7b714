"""The runner service of VtsServing."""
