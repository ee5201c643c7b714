"""A model process as its runner sees it: start, messages, supervision, end."""
