"""Tokens of callers."""
