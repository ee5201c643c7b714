"""The gateway service of VtsServing."""
