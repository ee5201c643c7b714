"""The listening server: predictions and functions leave for the fast path, the rest is FastAPI."""
