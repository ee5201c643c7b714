"""Handles to the methods of models, and custom Runnables with the packages that carry them."""
