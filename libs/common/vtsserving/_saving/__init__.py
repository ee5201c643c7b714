"""Saving and loading: what all framework modules share."""
