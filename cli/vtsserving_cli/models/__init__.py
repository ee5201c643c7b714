"""`vtsserving models`: the local model store and what goes in and out of it."""
