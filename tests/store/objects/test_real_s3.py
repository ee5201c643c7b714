"""What only a server that checks signatures can show."""

from __future__ import annotations

import datetime
import time

import httpx2
import minio.time
import pytest

from support.stores import s3_section, store_settings, wait_until
from vtsserving import _clock
from vtsserving.exceptions import ClockSkew, StoreUnavailable
from vtsserving_store.objects import keys
from vtsserving_store.objects.probe import open_storage


def test_a_wrong_secret_is_refused_with_a_sentence(s3_endpoint: str) -> None:
    section = {**s3_section(s3_endpoint), "secret_key": "wrong"}
    with pytest.raises(StoreUnavailable, match="check access key and secret key"):
        open_storage(store_settings(s3=section))


def test_f41_a_clock_that_is_an_hour_off_is_said_so(
    s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = minio.time.utcnow
    for hours in (1, -1):
        offset = datetime.timedelta(hours=hours)
        monkeypatch.setattr(minio.time, "utcnow", lambda offset=offset: real() + offset)
        now_s = time.time()
        monkeypatch.setattr(time, "time", lambda now_s=now_s, hours=hours: now_s + 3600 * hours)
        monkeypatch.setattr(_clock, "wall_s", time.time)
        with pytest.raises(ClockSkew, match="set this machine's time"):
            open_storage(store_settings(s3=s3_section(s3_endpoint)))
        monkeypatch.undo()


def test_expired_and_tampered_urls_are_refused(s3_endpoint: str) -> None:
    section = {**s3_section(s3_endpoint), "public_endpoint": s3_endpoint}
    objects = open_storage(store_settings(s3=section))
    key = keys.part("0" * 32, 1)
    good = objects.presign("PUT", key, expires_s=60)
    assert good is not None
    with httpx2.Client() as http:
        assert http.put(good, content=b"x").status_code == 200
        read = objects.presign("GET", key, expires_s=60) or ""
        assert http.get(read).content == b"x"
        flipped = "1" if read[-1] != "1" else "2"
        for url in (
            read[:-1] + flipped,
            read.replace("00001?", "00002?"),
            read.replace(key, keys.blob("sha256:" + "0" * 64)),
            read.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        ):
            assert url != read
            assert http.get(url).status_code == 403, url
            assert http.put(url, content=b"evil").status_code == 403, url
        assert http.put(read, content=b"evil").status_code == 403, "a URL to read does not let one write"
        stale = objects.presign("GET", key, expires_s=1) or ""
        # It is the server's clock that counts: ask until it refuses.
        wait_until(lambda: http.get(stale).status_code == 403, within_s=10, what="the URL expires")
    objects.close()
