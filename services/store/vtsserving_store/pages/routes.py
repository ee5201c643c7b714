"""The web pages: search, look, label, alias, delete; plain forms that work without scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from vtsserving._auth.tokens import Token
from vtsserving.exceptions import AuthError, BadRequest, Forbidden, NotFound, VtsServingException
from vtsserving_store.http import alias_changes
from vtsserving_store.http.dependencies import NOBODY, InContext, RouteContext, read_body
from vtsserving_store.pages.contracts import shown_contracts
from vtsserving_store.pages.render import COOKIE, FOLDER, HEADERS, page
from vtsserving_store.registry.registry import check_version

PAGE_MODELS: Final = 100
MAX_FORM_BYTES: Final = 256 * 1024
MAX_FILES_SHOWN: Final = 500
STATIC: Final = {"style.css": "text/css", "htmx.min.js": "text/javascript", "pages.js": "text/javascript"}

router = APIRouter(include_in_schema=False)
T = TypeVar("T")


class PageError(Exception):
    """An error that is shown as a page; an exception of the API would be shown as JSON."""

    def __init__(self, error: VtsServingException) -> None:
        super().__init__(error.message)
        self.error = error


async def show_problem(request: Request, failure: Exception) -> Response:
    """The page for a PageError; who must sign in is asked to."""
    assert isinstance(failure, PageError)
    error = failure.error
    if isinstance(error, AuthError) and not isinstance(error, Forbidden):
        return page(
            request, "login.html", error.status, note=error.message if COOKIE in request.cookies else ""
        )
    heading = {404: "Not found", 403: "Not allowed", 409: "Not possible"}.get(
        error.status, "That did not work"
    )
    return page(
        request, "problem.html", error.status, code=error.status, heading=heading, message=error.message
    )


def signed_in(scope: str) -> Callable[..., Awaitable[Token]]:
    """A dependency that lets only browsers pass whose token has a scope, and forms of our own pages."""

    async def check(request: Request, here: InContext) -> Token:
        try:
            if request.method == "POST":
                check_origin(request)
            if not here.settings.needs_token:
                return NOBODY
            token = await run_sync(here.parts.tokens.check, request.cookies.get(COOKIE, ""))
            token.require(scope)
        except VtsServingException as error:
            raise PageError(error) from error
        return token

    return check


def check_origin(request: Request) -> None:
    """Refuse forms that another site sends through a visitor's browser.

    Raises:
        Forbidden: the form comes from elsewhere.
    """
    origin = request.headers.get("origin") or request.headers.get("referer") or ""
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden("this form was not sent by a page of this store")


Reader = Annotated[Token, Depends(signed_in("pull"))]
Writer = Annotated[Token, Depends(signed_in("push"))]


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; of several with one name, the last counts."""
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        raise BadRequest("the form cannot be read") from error


@router.get("/")
def show_models(
    request: Request,
    here: InContext,
    _: Reader,
    q: Annotated[str, Query(max_length=200)] = "",
    label: Annotated[str, Query(max_length=1100)] = "",
    after: Annotated[str, Query(max_length=63)] = "",
) -> Response:
    """The names that fit, with their newest version."""

    def find() -> Response:
        by_name: dict[str, dict[str, Any]] = {}
        wanted = [label.strip()] if label.strip() else []
        for summary in here.parts.index.fitting(q.strip(), wanted):
            entry = by_name.setdefault(summary.name, {"name": summary.name, "versions": 0, "latest": summary})
            entry["versions"] += 1
        names = [name for name in by_name if name > after]
        shown = [by_name[name] for name in names[:PAGE_MODELS]]
        more = names[PAGE_MODELS - 1] if len(names) > PAGE_MODELS else ""
        return page(request, "models.html", models=shown, q=q, label=label, more=more)

    return _paged(find)


@router.get("/models/{name}")
def show_model(request: Request, here: InContext, _: Reader, name: str) -> Response:
    """All versions and aliases of a model."""

    def find() -> Response:
        here.parts.registry.versions(name)
        return page(
            request,
            "model.html",
            name=name,
            versions=here.parts.index.labelled(name),
            **_aliases(here, name),
        )

    return _paged(find)


@router.get("/models/{name}/{ref}")
def show_version(request: Request, here: InContext, _: Reader, name: str, ref: str) -> Response:
    """Everything about one version."""
    return _paged(lambda: _version_page(request, here, name, ref))


@router.post("/models/{name}/aliases")
async def move_alias(request: Request, here: InContext, token: Writer, name: str) -> Response:
    """Point an alias to a version."""
    form = await _form(request)

    def work() -> None:
        version = check_version(form.get("version", ""))
        alias_changes.move_alias(here, name, form.get("alias", ""), version, by=token.name)

    await run_sync(_paged, work)
    return _back(name, form)


@router.post("/models/{name}/aliases/{alias}/remove")
async def remove_alias(request: Request, here: InContext, token: Writer, name: str, alias: str) -> Response:
    """Remove an alias; its history stays."""
    form = await _form(request)
    await run_sync(_paged, lambda: alias_changes.remove_alias(here, name, alias, by=token.name))
    return _back(name, form)


@router.post("/models/{name}/{version}/labels")
async def edit_labels(request: Request, here: InContext, token: Writer, name: str, version: str) -> Response:
    """Set, change and remove labels."""
    form = await _form(request)
    changes: dict[str, str | None] = {
        field[len("value:") :]: value or None for field, value in form.items() if field.startswith("value:")
    }
    if form.get("key"):
        changes[form["key"]] = form.get("value") or None

    def work() -> None:
        found = here.parts.registry.get(name, version)
        base = found.info.get("labels", {})
        here.parts.labels.edit(name, found.manifest.version, base, changes, by=token.name)
        here.changes.announce("labels", name, version=found.manifest.version)

    await run_sync(_paged, work)
    return RedirectResponse(f"/models/{name}/{version}", 303)


@router.post("/models/{name}/{version}/delete")
async def delete_version(request: Request, here: InContext, _: Writer, name: str, version: str) -> Response:
    """Delete a version whose tag was typed."""
    form = await _form(request)

    def work() -> None:
        if form.get("confirm") != f"{name}:{version}":
            raise BadRequest(f"nothing was deleted: type {name}:{version} to confirm")
        here.parts.registry.delete(name, version)
        here.changes.announce("deleted", name, version=version)

    await run_sync(_paged, work)
    return RedirectResponse("/", 303)


@router.post("/login")
async def sign_in(request: Request, here: InContext) -> Response:
    """Keep a token in a cookie that only this store gets."""
    form = await _form(request)

    def work() -> None:
        check_origin(request)
        here.parts.tokens.check(form.get("token", "").strip())

    try:
        await run_sync(work)
    except VtsServingException as error:
        return page(request, "login.html", error.status, note=error.message)
    answer = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, form["token"].strip(), httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """Forget the token."""
    _paged(lambda: check_origin(request))
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Our own style and scripts."""
    if name not in STATIC:
        raise NotFound(f"no such file: {name[:60]!a}")
    headers = {**HEADERS, "cache-control": "max-age=3600"}
    return FileResponse(FOLDER / "static" / name, media_type=STATIC[name], headers=headers)


async def _form(request: Request) -> dict[str, str]:
    try:
        return await read_form(request)
    except VtsServingException as error:
        raise PageError(error) from error


def _back(name: str, form: dict[str, str]) -> Response:
    """To the page that has the form: the model's, or that of one of its versions."""
    version = f"/{form.get('version', '')}" if form.get("back") == "version" else ""
    return RedirectResponse(f"/models/{name}{version}", 303)


def _paged(work: Callable[[], T]) -> T:
    """Let errors be shown as pages."""
    try:
        return work()
    except VtsServingException as error:
        raise PageError(error) from error


def _aliases(here: RouteContext, name: str) -> dict[str, Any]:
    """Where the aliases of a model point now, removed ones nowhere, and where each pointed before."""
    aliases = here.parts.aliases
    names, targets = aliases.names(name), aliases.all(name)
    return {
        "known": {alias: targets.get(alias, "") for alias in names},
        "histories": {alias: aliases.history(name, alias) for alias in names},
    }


def _call(tag: str, method: str) -> str:
    """A command that asks a gateway for a prediction."""
    return f"curl http://127.0.0.1:3000/v1/models/{tag}/{method} -d '[[...]]'"


def _version_page(request: Request, here: RouteContext, name: str, ref: str) -> Response:
    found = here.parts.registry.get(name, ref)
    version, extra = found.manifest.version, found.manifest.extra
    edited = here.parts.labels.get(name, version)
    tag = f"{name}:{version}"
    origin = str(request.base_url).rstrip("/")
    usage = [
        ("Command line", f"vtsserving login {origin}\nvtsserving models pull {tag}\nvtsserving serve {tag}"),
        (
            "Python",
            f'import vtsserving\n\nmodel = vtsserving.models.pull("{tag}")\nrunner = model.to_runner()',
        ),
        *((f"HTTP, {method}", _call(tag, method)) for method in list(found.info.get("signatures", {}))[:8]),
    ]
    files = found.manifest.files
    return page(
        request,
        "version.html",
        name=name,
        version=version,
        tag=tag,
        digest=found.digest,
        description=extra.get("description", ""),
        info=found.info,
        labels=found.info.get("labels", {}) if edited is None else edited,
        **_aliases(here, name),
        pushed_at=found.pushed_at,
        pushed_by=found.pushed_by,
        size_bytes=found.manifest.size_bytes,
        runs_code=extra.get("runs_code", True),
        input_specs=extra.get("input_specs") or {},
        output_specs=extra.get("output_specs") or {},
        contracts=shown_contracts(tag, found.info, extra),
        files=files[:MAX_FILES_SHOWN],
        more_files=max(0, len(files) - MAX_FILES_SHOWN),
        usage=usage,
    )
