"""The model process as a process: what it sets for itself before it loads its model."""

from __future__ import annotations

import numpy as np

from support.runner_models import page_faults, save


def test_large_blocks_that_a_model_frees_keep_their_pages(with_runner):
    model = save("faults", page_faults())

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        (faults,) = await rig.batcher.done(rig.batcher.send(model, grant, [(np.zeros((1, 2)),)]))
        assert faults[0] < 12_800

    with_runner(scenario)
