from __future__ import annotations

from support.source_tree import PACKAGES, imports, modules, within

SERVICES = ("vtsserving_gateway", "vtsserving_store", "vtsserving_batcher", "vtsserving_runner")
PICKLES = ("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
NO_PICKLE = (
    "vtsserving_gateway",
    "vtsserving_batcher",
    "vtsserving._wire",
    "vtsserving._bus",
    "vtsserving._inference",
)
PURE = ("vtsserving_batcher.policy", "vtsserving._wire")
IMPURE = ("asyncio", "time", "socket", "threading", "nats", "fastapi", "uvicorn", "minio")


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
