"""Answers as HTTP, without ASGI."""
