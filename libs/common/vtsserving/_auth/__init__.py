"""Tokens: their form, scopes and files."""
