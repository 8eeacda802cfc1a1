"""The lab as a web application: every page, what its controls show, and nothing kept.

:func:`application` is an ASGI application for any server of such; :func:`serve` runs it here.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from workbench.errors import OptionError, WorkbenchError
from workbench.lab import render
from workbench.lab.datasets import NAME
from workbench.lab.jobs import AT_ONCE, Jobs, State
from workbench.lab.pages import PAGES
from workbench.lab.pages.yours import first_choice
from workbench.lab.uploads import LARGER, LARGEST, SHELF, Uploaded, read_table

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

AROUND = 10_000
"""Bytes that a form puts around a file."""
SAFE = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(hosts: tuple[str, ...] = ("127.0.0.1", "localhost"), at_once: int = AT_ONCE) -> Starlette:
    """The lab for an ASGI server; requests under other host names than these are refused ("*" allows any).

    `at_once` simulations and fits by PyMC run at a time.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
    from starlette.routing import Route

    pages = {page.key: page for page in PAGES}

    def found(request: Request) -> str:
        return str(request.scope.get("root_path", ""))

    def first(request: Request) -> Response:
        return HTMLResponse(render.index(PAGES, found(request)), headers=SAFE)

    def whole(request: Request) -> Response:
        page = pages.get(request.path_params["page"])
        if page is None:
            return PlainTextResponse("There is no such page.", 404, SAFE)
        query = dict(request.query_params)
        shorter = page.settle(query) if page.settle else None
        if shorter is not None:
            return RedirectResponse(f"{found(request)}/{page.key}?{urlencode(shorter)}", 303, SAFE)
        return HTMLResponse(render.whole(page, PAGES, query, found(request)), headers=SAFE)

    async def bring(request: Request) -> Response:
        page = pages.get(request.path_params["page"])
        if page is None or not page.brings:
            return PlainTextResponse("Nothing can be brought here.", 404, SAFE)
        try:
            table = await _brought(request)
            key = first_choice(SHELF.put(table), table).key
        except WorkbenchError as error:
            html = render.whole(page, PAGES, {}, found(request), str(error))
            return HTMLResponse(html, 422, SAFE)
        return RedirectResponse(f"{found(request)}/{page.key}?{urlencode({NAME: key})}", 303, SAFE)

    def shown(request: Request) -> Response:
        page = pages.get(request.path_params["page"])
        if page is None:
            return PlainTextResponse("There is no such page.", 404, SAFE)
        return HTMLResponse(render.part(page, dict(request.query_params)), headers=SAFE)

    def style(request: Request) -> Response:
        text = "".join((render.TEMPLATES / name).read_text("utf-8") for name in ("drawing.css", "lab.css"))
        return PlainTextResponse(text, media_type="text/css", headers=SAFE)

    def script(request: Request) -> Response:
        text = (render.TEMPLATES / "lab.js").read_text("utf-8")
        return PlainTextResponse(text, media_type="text/javascript", headers=SAFE)

    jobs = Jobs(at_once)

    def start(request: Request) -> Response:
        try:
            if not _own(request):
                raise OptionError("This was asked for by a page of another site.")
            page = pages.get(request.path_params["page"])
            if page is None:
                raise OptionError("There is no such page.")
            key = jobs.start(page.key, render.taken(page, dict(request.query_params)))
        except WorkbenchError as error:
            return JSONResponse({"key": "", "text": str(error)}, headers=SAFE)
        return JSONResponse({"key": key}, headers=SAFE)

    def job(request: Request) -> Response:
        key = str(request.path_params["key"])
        if request.method == "DELETE" and _own(request):
            jobs.stop(key)
        try:
            return JSONResponse(asdict(jobs.state(key)), headers=SAFE)
        except WorkbenchError as error:
            return JSONResponse(asdict(State(str(error), ended=True)), headers=SAFE)

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        yield
        jobs.stop_all()

    return Starlette(
        lifespan=living,
        routes=[
            Route("/", first),
            Route("/lab.css", style),
            Route("/lab.js", script),
            Route("/jobs/{key:str}", job, methods=["GET", "DELETE"]),
            Route("/{page:str}/start", start, methods=["POST"]),
            Route("/{page:str}", whole),
            Route("/{page:str}", bring, methods=["POST"]),
            Route("/{page:str}/shown", shown),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


def _own(request: Request) -> bool:
    """Whether what changes something is asked for by a page of the lab's own, or by no page."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _brought(request: Request) -> Uploaded:
    """The table of a form; refused before it is read where it is too large or comes from another site's page."""
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import UploadFile

    if not _own(request):
        raise OptionError("The table was sent by a page of another site. Bring it on the lab's own page.")
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > LARGEST + AROUND:
        raise OptionError(f"The table is too large for the lab, which takes {LARGEST / 1e6:g} million bytes. {LARGER}")
    async with request.form(max_files=1, max_fields=1) as form:
        file = form.get("table")
        if not isinstance(file, UploadFile) or not file.filename:
            raise OptionError("No file was chosen. Choose one, then bring it.")
        return await run_in_threadpool(read_table, file.filename[-120:], await file.read())


def serve(
    host: str,
    port: int,
    names: tuple[str, ...] = (),
    ready: Callable[[str], None] = lambda address: None,
    at_once: int = AT_ONCE,
) -> None:
    """Run the lab until Ctrl-C.

    Parameters
    ----------
    host : str
        The address to listen on.
    port : int
        0 takes any that is free.
    names : tuple of str
        Host names under which browsers may ask for it, beside the address and ``localhost``: pages of other hosts
        cannot reach a lab on this machine by giving it a name of theirs.
    ready : function of the lab's address
        Called once it can be opened.
    at_once : int
        Simulations and fits by PyMC that run at a time.

    Raises
    ------
    OptionError
        The address cannot be listened on.
    """
    import uvicorn

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(128)  # who comes before the server runs waits for it, in place of being refused
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(
                f"The lab cannot listen on {host}, port {port}: {reason}. Is another lab running there? Choose another "
                "with --port, or --port 0 for any that is free."
            ) from None
        warm_up()
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}/")
        settings = uvicorn.Config(
            application((host, "localhost", *names), at_once), log_level="warning", access_log=False
        )
        uvicorn.Server(settings).run(sockets=[listening])


def warm_up() -> None:
    """Show every page once, so that the first visitor does not wait for what is imported and compiled."""
    for page in PAGES:
        render.whole(page, PAGES, {})
