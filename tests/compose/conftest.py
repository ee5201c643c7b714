"""The stack that the tests of this folder share; it is started by the first of them and removed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import vtsserving
from support.cluster import save_model
from support.compose_stack import ComposeStack, missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and keep the order of the files: later tests go on where earlier ones ended."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.compose)
            item.add_marker(pytest.mark.timeout(1_500))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    lack = missing()
    if lack:
        pytest.fail(f"these tests run containers: {lack}", pytrace=False)
    made = ComposeStack(tmp_path_factory.mktemp("checkout"))
    made.close()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def fresh(stack: ComposeStack) -> ComposeStack:
    """A new cluster of one of each, without tokens, that has the model of the load, `linear`, and `iris_clf`."""
    stack.compose("down", "--volumes")
    stack.run("deploy/init.sh")
    stack.set_line("VTSSERVING_AUTH", "off")
    rows, species = load_iris(return_X_y=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", stack.environment["VTSSERVING_HOME"])
        linear = save_model("linear")
        clf = LogisticRegression(max_iter=1_000).fit(rows, species)
        iris = vtsserving.sklearn.save_model("iris_clf", clf)
    stack.up("--build")
    stack.run("vtsserving", "models", "push", linear, str(iris.tag))
    return stack
