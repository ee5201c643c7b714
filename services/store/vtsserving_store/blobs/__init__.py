"""Bytes by digest: uploads, and leases on what is being pushed."""
