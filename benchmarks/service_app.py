"""The Service that benchmarks/service.py measures: one runner call, in a sync and in an async function."""

from __future__ import annotations

from typing import Any

import vtsserving
from vtsserving.io import NumpyNdarray

runner = vtsserving.models.get("iris_clf:latest").to_runner()
svc = vtsserving.Service("bench", runners=[runner])


@svc.api(input=NumpyNdarray(), output=NumpyNdarray())
def classify(rows: Any) -> Any:
    """Predict, in a thread."""
    return runner.predict.run(rows)


@svc.api(input=NumpyNdarray(), output=NumpyNdarray())
async def classify_async(rows: Any) -> Any:
    """Predict, on the event loop."""
    return await runner.predict.async_run(rows)
