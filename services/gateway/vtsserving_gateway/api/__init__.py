"""The routes that are not predictions, and the pages that describe all of them."""
