"""openapi-typescript makes types of the documents of gateway and store, and a program that uses them is compiled."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import vtsserving
from support.backend import entry, rows_spec
from support.client_environment import npm_modules
from support.served_gateway import served
from support.stores import ThreadedStore, store_settings
from vtsserving.io import JSON, Image, Multipart, NumpyNdarray, OptionalPart, Repeated, Text

OF_THE_GATEWAY = """
import type { components, operations, paths } from "./gateway";

type Call = paths["/v1/models/{tag}/{method}"]["post"]["requestBody"]["content"]["application/json"];
const call: Call = [[5.9, 3.0, 5.1, 1.8]];
const models: keyof operations = "list_models";
const loaded: operations["load_model"]["parameters"]["path"] = { tag: "iris_clf:latest" };
const album: paths["/album"]["post"]["requestBody"]["content"]["multipart/form-data"] = { photos: ["", ""] };
const failed = (error: components["schemas"]["Error"]): string => error.error.code;
type Inference = operations["infer"]["requestBody"]["content"]["application/json"];
const inference: Inference = { inputs: [{ name: "X", shape: [1, 4], datatype: "FP64", data: [1, 2, 3, 4] }] };
export { album, call, failed, inference, loaded, models };
"""

OF_THE_STORE = """
import type { operations } from "./store";

type Versions = operations["list_versions"]["responses"]["200"]["content"]["application/json"];
const tags = (found: Versions): string[] => found.versions.map((version) => version.tag);
export { tags };
"""

pytestmark = [pytest.mark.frameworks("typescript"), pytest.mark.slow, pytest.mark.timeout(600)]

svc = vtsserving.Service("flowers", runners=[])


@svc.api(input=Multipart(photos=Repeated(Image()), note=OptionalPart(Text())), output=JSON())
def album(photos, note):  # type: ignore[no-untyped-def]  # as users write them
    return len(photos)


@svc.api(input=NumpyNdarray(dtype="float64", shape=(-1, 4), enforce_shape=True), output=NumpyNdarray())
def classify(rows):  # type: ignore[no-untyped-def]
    return rows


def compiled(modules: Path, folder: Path, name: str, url: str, program: str) -> None:
    """Make types of a document, and compile them with a program that uses them."""
    (folder / "program.ts").write_text(program)
    for command in (
        [str(modules / "openapi-typescript"), f"{url}/openapi.json", "-o", f"{name}.ts"],
        [str(modules / "tsc"), "--noEmit", "--strict", "--skipLibCheck", f"{name}.ts", "program.ts"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_types_of_the_gateway_with_a_service_and_models_compile(tmp_path: Path) -> None:
    modules = npm_modules("typescript")
    entries = [entry("iris", input_specs=rows_spec(4)), entry("echo")]
    with served(entries, {("iris", "predict"): lambda X: X}, service=svc) as gateway:
        compiled(modules, tmp_path, "gateway", f"http://127.0.0.1:{gateway.port}", OF_THE_GATEWAY)


def test_types_of_the_store_compile(tmp_path: Path) -> None:
    modules = npm_modules("typescript")
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        compiled(modules, tmp_path, "store", store.url, OF_THE_STORE)
