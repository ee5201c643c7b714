"""The client's token opens a guarded gateway: models, functions, and what is known of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.backend import entry, rows_spec
from support.served_gateway import served
from vtsserving._auth.token_file import TokenFile
from vtsserving._runtime.settings import SharedSettings
from vtsserving.exceptions import AuthError
from vtsserving.io import JSON, NumpyNdarray


def guarded_service() -> vtsserving.Service:
    svc = vtsserving.Service("guarded")

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    async def double(rows: Any) -> Any:
        return rows * 2

    @svc.api(input=None, output=JSON())
    def version() -> Any:
        return 1

    return svc


def test_a_token_opens_models_and_functions_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = TokenFile(tmp_path / "tokens.jsonl")
    token = file.create("app", "infer")[1]
    shared = SharedSettings(auth="required", tokens_file=tmp_path / "tokens.jsonl")
    models = [entry("iris", input_specs=rows_spec(4))]
    functions = {("iris", "predict"): lambda X: X.sum(axis=1)}
    with served(models, functions, shared=shared, service=guarded_service()) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        for wrong in ("", "nonsense", f"vts_{'0' * 16}_{'0' * 64}"):
            with vtsserving.Client(url, token=wrong, retries=0) as stranger:
                stranger.wait_until_ready()
                for call in (stranger.version, lambda: stranger.predict("iris", np.ones((1, 4)))):
                    with pytest.raises(AuthError):
                        call()
        monkeypatch.setenv("VTSSERVING_TOKEN_FILE", str(tmp_path / "token"))
        (tmp_path / "token").write_text(token + "\n")
        with vtsserving.Client(url) as client:
            for _ in range(3):  # the first is looked up, the others are known
                assert client.predict("iris", np.ones((1, 4))).tolist() == [4.0]
                assert client.double(np.ones(2)).tolist() == [2.0, 2.0]
                assert client.version() == 1
