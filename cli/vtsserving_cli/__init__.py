"""The command line of VtsServing."""
