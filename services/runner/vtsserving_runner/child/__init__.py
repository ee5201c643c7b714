"""The code that runs in a model process."""
