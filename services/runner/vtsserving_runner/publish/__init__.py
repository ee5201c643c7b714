"""Frames to batchers and gateways."""
