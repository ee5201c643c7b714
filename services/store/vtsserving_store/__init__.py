"""The store service of VtsServing."""
