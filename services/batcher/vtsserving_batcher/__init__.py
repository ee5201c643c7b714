"""The batcher service of VtsServing."""
