"""Used by prices_service: travels with its packed class, because runners do not have it."""

FACTOR = 4.0


def with_rate(values, rate):
    """Values times a rate."""
    return values * rate * FACTOR
