"""What a model needs of a runner, in words, and how what is missing is said."""

from __future__ import annotations

import importlib
import platform

import pytest

from support.sdk import iris_classifier
from vtsserving import picklable_model, sklearn
from vtsserving._catalog import placement
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._saving import framework

pytestmark = pytest.mark.fast

HERE = f"python={'.'.join(platform.python_version_tuple()[:2])}"
SIGNATURES = {"predict": {"batchable": True}}


def defined() -> object:
    """An object of a class that is defined here, so that its code travels in the pickle."""

    class Defined:
        def predict(self, rows: object) -> object:
            return rows

    return Defined()


def needs(model: object) -> tuple[str, ...]:
    return CatalogEntry.of(model.info, model.digest).needs  # type: ignore[attr-defined]


def test_a_framework_model_needs_its_packages_and_its_devices_but_no_python() -> None:
    import sklearn as package

    model = sklearn.save_model("iris", iris_classifier(), options={"device": ["cpu", "cuda", "cuda:1"]})
    major = package.__version__.partition(".")[0]
    assert needs(model) == (f"scikit-learn={major}", "gpu", "gpu=1")


def test_a_pickle_that_carries_code_needs_the_python_that_wrote_it() -> None:
    assert HERE in needs(picklable_model.save_model("own", defined(), signatures=SIGNATURES))


def test_this_process_has_what_its_own_models_need() -> None:
    traits = placement.traits_of(["0"])
    for model in (
        sklearn.save_model("iris", iris_classifier(), options={"device": "cuda:0"}),
        picklable_model.save_model("own", defined(), signatures=SIGNATURES),
    ):
        assert set(needs(model)) <= set(traits)
    assert "gpu" not in placement.traits_of([])


def test_runners_say_of_every_framework_whether_they_have_it() -> None:
    modules = [importlib.import_module(f"vtsserving.{name}") for name in framework.MODULES]
    recorded = {name for module in modules for name in module.FRAMEWORK.distributions}
    assert recorded == set(placement.DISTRIBUTIONS)


@pytest.mark.parametrize(
    ("wanted", "runners", "said"),
    [
        pytest.param(["gpu"], [{"python=3.11"}], "the only runner has no GPU", id="one runner"),
        pytest.param(
            ["python=3.12", "torch=2"],
            [{"python=3.11"}, {"torch=1"}],
            "none of the 2 runners has Python 3.12 and torch 2.x",
            id="nowhere",
        ),
        pytest.param(
            ["python=3.12", "gpu=0"],
            [{"python=3.12"}, {"gpu=0"}],
            "no runner has all of Python 3.12 and GPU number 0",
            id="not together",
        ),
    ],
)
def test_what_is_missing_is_said_in_words(wanted: list[str], runners: list[set[str]], said: str) -> None:
    assert placement.missing(wanted, runners) == said
