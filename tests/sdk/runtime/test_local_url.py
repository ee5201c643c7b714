from __future__ import annotations

import pytest

from vtsserving._runtime.local_url import local_url

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),
        ("::", "http://[::1]:3000"),
        ("fd00::1", "http://[fd00::1]:3000"),
        ("gateway", "http://gateway:3000"),
    ],
)
def test_the_url_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert local_url(host, 3000) == url
