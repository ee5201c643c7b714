"""Storages and services for the store's tests."""

from __future__ import annotations

from support.store_fixtures import (  # noqa: F401  fixtures: pytest finds them by name in this module
    client,
    http,
    local,
    objects,
    other,
    own_home,
    parts,
    settings,
    shared_http,
    store,
)
