"""Versions that never change, aliases that move, and the index of both."""
