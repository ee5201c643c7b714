"""Calls of the functions of a Service."""
