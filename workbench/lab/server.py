"""The lab as a web application: every page, what its controls show, and nothing kept.

:func:`application` is an ASGI application for any server of such; :func:`serve` runs it here.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from workbench.errors import OptionError, WorkbenchError
from workbench.lab import render
from workbench.lab.datasets import NAME
from workbench.lab.jobs import AT_ONCE, Jobs, State
from workbench.lab.page import Page
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
    from starlette.routing import Route

    answers = Answers(Jobs(at_once))

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        yield
        answers.jobs.stop_all()

    return Starlette(
        lifespan=living,
        routes=[
            Route("/", answers.first),
            Route("/lab.css", answers.style),
            Route("/lab.js", answers.script),
            Route("/jobs/{key:str}", answers.job, methods=["GET", "DELETE"]),
            Route("/{page:str}/start", answers.start, methods=["POST"]),
            Route("/{page:str}", answers.whole),
            Route("/{page:str}", answers.bring, methods=["POST"]),
            Route("/{page:str}/shown", answers.shown),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


@dataclass(frozen=True)
class Answers:
    """What the lab answers to each kind of request; all that it remembers is its jobs."""

    jobs: Jobs

    def first(self, request: Request) -> Response:
        """The list of pages."""
        return _html(render.index(PAGES, _root(request)))

    def whole(self, request: Request) -> Response:
        """A page, or where the same is said more shortly."""
        page = _page(request)
        if page is None:
            return _text("There is no such page.", status=404)
        query = dict(request.query_params)
        shorter = page.settle(query) if page.settle else None
        if shorter is not None:
            return _elsewhere(request, page, shorter)
        return _html(render.whole(page, PAGES, query, _root(request)))

    def shown(self, request: Request) -> Response:
        """What a page's controls show."""
        page = _page(request)
        if page is None:
            return _text("There is no such page.", status=404)
        return _html(render.part(page, dict(request.query_params)))

    async def bring(self, request: Request) -> Response:
        """Take a table, and go on to the page that shows it; or say what was wrong with it."""
        page = _page(request)
        if page is None or not page.brings:
            return _text("Nothing can be brought here.", status=404)
        try:
            table = await _brought(request)
            key = first_choice(SHELF.put(table), table).key
        except WorkbenchError as error:
            return _html(render.whole(page, PAGES, {}, _root(request), str(error)), status=422)
        return _elsewhere(request, page, {NAME: key})

    def style(self, request: Request) -> Response:
        """How pages look."""
        return _text("".join(map(_template, ("drawing.css", "lab.css"))), "text/css")

    def script(self, request: Request) -> Response:
        """What moves numbers."""
        return _text(_template("lab.js"), "text/javascript")

    def start(self, request: Request) -> Response:
        """Begin a page's work."""
        page = _page(request)
        try:
            if not _own(request):
                raise OptionError("This was asked for by a page of another site. Start it on the lab's own page.")
            if page is None:
                raise OptionError("There is no such page.")
            key = self.jobs.start(page.key, render.taken(page, dict(request.query_params)))
        except WorkbenchError as error:
            return _json({"key": "", "text": str(error)})
        return _json({"key": key})

    def job(self, request: Request) -> Response:
        """How far a job is; it is stopped first where that is asked."""
        key = str(request.path_params["key"])
        if request.method == "DELETE" and _own(request):
            self.jobs.stop(key)
        try:
            return _json(asdict(self.jobs.state(key)))
        except WorkbenchError as error:
            return _json(asdict(State(str(error), ended=True)))


def _page(request: Request) -> Page | None:
    return next((page for page in PAGES if page.key == request.path_params["page"]), None)


def _root(request: Request) -> str:
    """What stands before every address where the lab is a part of a larger site."""
    return str(request.scope.get("root_path", ""))


def _template(name: str) -> str:
    return (render.TEMPLATES / name).read_text("utf-8")


def _html(text: str, status: int = 200) -> Response:
    from starlette.responses import HTMLResponse

    return HTMLResponse(text, status, SAFE)


def _text(text: str, kind: str = "text/plain", status: int = 200) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(text, status, SAFE, kind)


def _json(values: Mapping[str, object]) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(values, headers=SAFE)


def _elsewhere(request: Request, page: Page, query: Mapping[str, str]) -> Response:
    from starlette.responses import RedirectResponse

    return RedirectResponse(f"{_root(request)}/{page.key}?{urlencode(query)}", 303, SAFE)


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
            reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
            taken = getattr(error, "errno", None) == errno.EADDRINUSE
            advice = "Is another lab running there? Choose another with --port, or --port 0 for any that is free."
            raise OptionError(
                f"The lab cannot listen on {host}, port {port}: {reason}."
                + (f" {advice}" if taken else " Name another --host, or a --port from 0 to 65535.")
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
