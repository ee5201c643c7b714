"""Predictions: from the bytes of a body to the values of a call, and back."""
