"""The HTTP interface of the store."""
