"""Loaded models: replicas, credits, memory, the cache of pulled files."""
