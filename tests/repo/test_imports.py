from __future__ import annotations

import pytest

from support.source_tree import PACKAGES, house_of, imports, internal_imports, modules, room_of, within

pytestmark = pytest.mark.fast

SERVICES = ("vtsserving_gateway", "vtsserving_store", "vtsserving_batcher", "vtsserving_runner")
PICKLES = ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
NO_PICKLE = (
    "vtsserving_gateway",
    "vtsserving_batcher",
    "vtsserving._wire",
    "vtsserving._bus",
    "vtsserving._inference",
    "vtsserving._http",
)
PURE = ("vtsserving_batcher.policy", "vtsserving._wire")
IMPURE = (
    "asyncio",
    "time",
    "vtsserving._clock",
    "socket",
    "threading",
    "nats",
    "fastapi",
    "uvicorn",
    "minio",
)

FLOORS: dict[str, tuple[str, ...]] = {
    "vtsserving": (
        "vtsserving",
        "service _embedded _scoring",
        "client _inference",
        "_packing",
        "models",
        "catboost lightgbm onnx picklable_model pytorch pytorch_lightning sklearn torchscript transformers xgboost",
        "_archive _store_client",
        "_catalog",
        "_saving",
        "_local_store",
        "runner",
        "_contract io _runtime",
        "_model _codecs",
        "_wire",
        "_http _bus _auth",
        "_record_format",
        "_clock _recent exceptions version _aliases",
    ),
    "vtsserving_gateway": (
        "__main__",
        "app",
        "api",
        "server",
        "functions",
        "predict",
        "http",
        "state",
        "cluster auth",
        "settings metrics statistics labels",
        "vtsserving_gateway",
    ),
    "vtsserving_store": (
        "__main__",
        "app",
        "pages",
        "http maintenance",
        "components",
        "upkeep",
        "registry",
        "blobs",
        "objects",
        "settings",
        "vtsserving_store",
    ),
    "vtsserving_batcher": (
        "__main__",
        "app",
        "intake",
        "orders prepare_handler",
        "dispatch",
        "answers framing loading",
        "fleet model_state settings metrics",
        "queue",
        "policy",
        "vtsserving_batcher",
    ),
    "vtsserving_runner": (
        "__main__",
        "app",
        "intake",
        "models",
        "publish child settings",
        "process metrics",
        "vtsserving_runner",
    ),
    "vtsserving_embedded": (
        "__main__",
        "serve parent_watch",
        "app workers reload",
        "nats_child targets",
        "child_process file_watch nats_binary",
        "vtsserving_embedded",
    ),
    "vtsserving_cli": (
        "__main__",
        "main",
        "config login predict serve services store",
        "models",
        "app",
        "completion progress render parsing",
        "console",
        "vtsserving_cli",
    ),
}
"""The parts of each house, top floor first: a part imports those of lower floors only, and none of its own floor."""

UPWARDS = {
    # Model is the facade of the SDK; a Runner loads its model itself when it is to be local.
    "vtsserving._local_store.model imports vtsserving._saving.custom_objects",
    "vtsserving._local_store.model imports vtsserving._saving.framework",
    "vtsserving.runner.runner imports vtsserving._saving.framework",
    # The list of the commands, each of which is imported when it is called.
    "vtsserving_cli.app imports vtsserving_cli.config",
    "vtsserving_cli.app imports vtsserving_cli.login",
    "vtsserving_cli.app imports vtsserving_cli.models.group",
    "vtsserving_cli.app imports vtsserving_cli.predict",
    "vtsserving_cli.app imports vtsserving_cli.serve",
    "vtsserving_cli.app imports vtsserving_cli.services",
    "vtsserving_cli.app imports vtsserving_cli.store",
    # Completion is installed for the whole command line.
    "vtsserving_cli.config imports vtsserving_cli.main",
}
"""All imports that go upwards. They are within functions, so that they close no circle when modules are imported."""

INTERNAL = internal_imports()


def offences(where: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{module} imports {name}"
        for module, path in modules()
        if within(module, *where)
        for name in sorted(imports(path))
        if within(name, *forbidden)
    ]


def test_every_package_is_there_and_typed() -> None:
    assert [p for p, folder in PACKAGES.items() if not (folder / "__init__.py").exists()] == []
    assert [p for p, folder in PACKAGES.items() if not (folder / "py.typed").exists()] == []


def test_the_shared_library_imports_no_service_and_no_command_line() -> None:
    assert offences(("vtsserving",), (*SERVICES, "vtsserving_embedded", "vtsserving_cli")) == []


def test_no_service_imports_another_service_or_the_command_line() -> None:
    outside = ("vtsserving_embedded", "vtsserving_cli")
    found = [
        offence
        for service in SERVICES
        for offence in offences((service,), (*(s for s in SERVICES if s != service), *outside))
    ]
    assert found == []


def test_the_embedded_stack_takes_from_services_only_their_apps_and_what_these_are_made_of() -> None:
    doors = (
        *(f"{service}.{part}" for service in SERVICES for part in ("app", "settings")),
        "vtsserving_gateway.auth.tokens.check_access",
        "vtsserving_gateway.server.server.listen",
        "vtsserving_runner.models.source.LocalSource",
    )
    assert offences(("vtsserving_embedded",), ("vtsserving_cli",)) == []
    assert through_other_doors("vtsserving_embedded", doors) == []


def test_the_command_line_takes_from_services_only_settings_and_the_store() -> None:
    doors = (
        "vtsserving_store.app",
        "vtsserving_store.maintenance",
        *(f"{service}.settings" for service in SERVICES),  # `config show` lists all settings
    )
    assert through_other_doors("vtsserving_cli", doors) == []


def through_other_doors(package: str, doors: tuple[str, ...]) -> list[str]:
    """Imports of services by a package, but for those of the doors."""
    return [
        f"{module} imports {name}"
        for module, path in modules()
        if within(module, package)
        for name in sorted(imports(path))
        if within(name, *SERVICES) and not any(within(name, d) or within(d, name) for d in doors)
    ]


def test_nothing_that_reads_from_a_socket_imports_pickle() -> None:
    assert offences(NO_PICKLE, PICKLES) == []


def test_policy_and_wire_touch_no_clock_no_loop_and_no_socket() -> None:
    assert offences(PURE, IMPURE) == []


@pytest.mark.parametrize("house", PACKAGES)
def test_every_part_of_a_house_has_its_floor(house: str) -> None:
    parts = [part for floor in FLOORS[house] for part in floor.split()]
    assert sorted(parts) == sorted({room_of(module) for module, _ in modules() if house_of(module) == house})


@pytest.mark.parametrize("house", PACKAGES)
def test_imports_go_down(house: str) -> None:
    floors = {part: number for number, floor in enumerate(FLOORS[house]) for part in floor.split()}
    upwards = [
        one
        for one in INTERNAL
        if house_of(one.source) == house_of(one.target) == house
        and room_of(one.source) != room_of(one.target)
        and floors[room_of(one.source)] >= floors[room_of(one.target)]
    ]
    assert [str(one) for one in upwards if not one.is_lazy] == []
    assert {str(one) for one in upwards} == {one for one in UPWARDS if within(one.split()[0], house)}


def test_the_stores_routes_share_no_handlers() -> None:
    routes = {module for module, _ in modules() if ".routes." in module}
    assert routes
    assert offences(tuple(routes), tuple(routes)) == []
