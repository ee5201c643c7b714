"""Batchers and runners as the gateway sees them, and versions that follow each other."""
