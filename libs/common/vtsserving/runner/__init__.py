"""Handles to the methods of models, and custom Runnables."""
