"""A Service of one's own beside the models, as docs/operations.md says: pushed, served, changed, and taken back."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support.compose_stack import ComposeStack
from support.load import Report
from support.proofs import Proof
from support.rolling import refused_roll, roll_under_load

ROWS: Final = [[5.9, 3.0, 5.1, 1.8], [5.1, 3.5, 1.4, 0.2]]

SERVICE: Final = """\
import numpy as np
import vtsserving
from vtsserving.io import JSON, NumpyNdarray


class Names(vtsserving.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)

    @vtsserving.Runnable.method(batchable=True)
    def name(self, numbers):
        return np.array(["setosa", "versicolor", "virginica"])[numbers]


species = vtsserving.sklearn.get("iris_clf:latest").to_runner()
names = vtsserving.Runner(Names, name="names")
svc = vtsserving.Service("iris", runners=[species, names])


@svc.api(input=NumpyNdarray(), output=JSON())
async def classify(rows):
    return {"release": 1, "species": (await names.async_run(await species.predict.async_run(rows))).tolist()}
"""

NO_GATEWAY: Final = (
    503,
    {"error": {"code": "gateway_unavailable", "message": "No gateway can be reached.", "request_id": ""}},
)


def classify(stack: ComposeStack) -> tuple[int, object]:
    return stack.post("/classify", ROWS)


def push(stack: ComposeStack) -> None:
    stack.shell("cd deploy/service && vtsserving services push service:svc")


def roll_gateways(stack: ComposeStack) -> Report:
    """Every answer meanwhile was right."""
    report = roll_under_load(stack, "gateway")
    assert len(report.of("right")) == len(report.answers), report
    return report


def right(release: int) -> tuple[int, object]:
    rows, species = load_iris(return_X_y=True)
    found = LogisticRegression(max_iter=1_000).fit(rows, species).predict(np.array(ROWS))
    return 200, {"release": release, "species": [["setosa", "versicolor", "virginica"][n] for n in found]}


def test_a_service_and_its_own_runners_are_served_by_the_gateways(fresh: ComposeStack) -> None:
    stack = fresh
    (stack.folder / "deploy" / "service" / "service.py").write_text(SERVICE)
    push(stack)
    stack.set_line("SERVICE", "service:svc")
    stack.run("deploy/roll.sh", "gateway")
    assert classify(stack) == right(1)


@pytest.mark.prove
def test_a_changed_service_takes_over_without_a_failed_request(fresh: ComposeStack, proof: Proof) -> None:
    stack = fresh
    module = stack.folder / "deploy" / "service" / "service.py"
    module.write_text(SERVICE.replace('"release": 1', '"release": 2'))
    push(stack)
    report = roll_gateways(stack)
    assert classify(stack) == right(2)
    proof.record(
        "compose: a changed Service, deploy/roll.sh gateway, 8 clients", requests=len(report.answers)
    )


def test_a_service_that_does_not_import_leaves_the_old_gateways_to_go_on(fresh: ComposeStack) -> None:
    stack = fresh
    module = stack.folder / "deploy" / "service" / "service.py"
    before = set(stack.containers("gateway"))
    good = module.read_text()
    module.write_text("import no_such_package\n" + good)
    try:
        said = refused_roll(stack, "gateway")
    finally:
        module.write_text(good)
    assert "no_such_package" in said
    assert set(stack.containers("gateway")) == before
    assert classify(stack) == right(2)


def test_a_tag_that_was_never_built_is_refused_and_does_not_become_one_of_the_present_sources(
    fresh: ComposeStack,
) -> None:
    stack = fresh
    before = stack.containers("gateway")
    stack.environment["VTSSERVING_VERSION"] = "test-never-built"
    try:
        said = refused_roll(stack, "gateway")
    finally:
        stack.environment["VTSSERVING_VERSION"] = "test"
    assert "o such image: vtsserving-gateway:test-never-built" in said
    assert stack.containers("gateway") == before


@pytest.mark.prove
def test_an_older_image_is_rolled_back_to_without_a_failed_request(fresh: ComposeStack, proof: Proof) -> None:
    stack = fresh
    stack.run("docker", "tag", "vtsserving-gateway:test", "vtsserving-gateway:test-older")
    stack.environment["VTSSERVING_VERSION"] = "test-older"
    try:
        report = roll_gateways(stack)
        images = {stack.inspect(container)["Config"]["Image"] for container in stack.containers("gateway")}
    finally:
        stack.environment["VTSSERVING_VERSION"] = "test"
        stack.run("deploy/roll.sh", "gateway")
        stack.run("docker", "rmi", "vtsserving-gateway:test-older")
    assert images == {"vtsserving-gateway:test-older"}
    proof.record("compose: an older image, deploy/roll.sh gateway, 8 clients", requests=len(report.answers))


def test_a_new_cluster_that_misses_its_models_takes_them_and_goes_on(fresh: ComposeStack) -> None:
    """As on another machine, or after a loss: `.env` names a Service and models that the store does not have yet."""
    stack = fresh
    stack.compose("down", "--volumes")
    (stack.folder / "deploy" / "service" / "service.py").write_text(SERVICE)
    stack.set_line("SERVICE", "service:svc")
    stack.environment["RUNNER_PRELOAD"] = "iris_clf:latest"
    try:
        with pytest.raises(AssertionError, match=r"gateway-1 is unhealthy"):
            stack.up()
        assert "the store has no model 'iris_clf'" in stack.logs("gateway")
        assert classify(stack) == NO_GATEWAY
        push(stack)
        stack.run("deploy/roll.sh", "gateway")
        stack.up()
        assert classify(stack) == right(1)
    finally:
        del stack.environment["RUNNER_PRELOAD"]
