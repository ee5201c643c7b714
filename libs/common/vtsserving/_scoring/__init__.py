"""Scoring a file: its rows in, the results of a model's method out, in chunks of bounded size."""
