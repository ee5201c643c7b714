"""Serving from Python: the embedded stack in a child process of this one."""
