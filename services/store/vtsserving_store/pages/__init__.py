"""The HTML pages of the store."""
