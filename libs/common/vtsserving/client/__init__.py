"""The HTTP client of a gateway: what is said (call, models, functions), how often (attempts), and who says it."""
