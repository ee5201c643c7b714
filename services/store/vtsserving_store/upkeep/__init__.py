"""Garbage collection, consistency check, backup."""
