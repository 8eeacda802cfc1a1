"""The lab as a web application: every page, what its controls show, and nothing kept.

:func:`application` is an ASGI application for any server of such; :func:`serve` runs it here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.errors import OptionError
from workbench.lab import render
from workbench.lab.pages import PAGES

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

SAFE = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Starlette:
    """The lab for an ASGI server; requests under other host names than these are refused ("*" allows any)."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse
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
        return HTMLResponse(render.whole(page, PAGES, dict(request.query_params), found(request)), headers=SAFE)

    def shown(request: Request) -> Response:
        page = pages.get(request.path_params["page"])
        if page is None:
            return PlainTextResponse("There is no such page.", 404, SAFE)
        return HTMLResponse(render.part(page, dict(request.query_params)), headers=SAFE)

    def style(request: Request) -> Response:
        return PlainTextResponse((render.TEMPLATES / "lab.css").read_text("utf-8"), media_type="text/css", headers=SAFE)

    def script(request: Request) -> Response:
        text = (render.TEMPLATES / "lab.js").read_text("utf-8")
        return PlainTextResponse(text, media_type="text/javascript", headers=SAFE)

    return Starlette(
        routes=[
            Route("/", first),
            Route("/lab.css", style),
            Route("/lab.js", script),
            Route("/{page:str}", whole),
            Route("/{page:str}/shown", shown),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


def serve(
    host: str, port: int, names: tuple[str, ...] = (), ready: Callable[[str], None] = lambda address: None
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
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(
                f"The lab cannot listen on {host}, port {port}: {reason}. Is another lab running there? Choose another "
                "with --port, or --port 0 for any that is free."
            ) from None
        warm_up()
        listening.listen()  # who comes before the server runs waits for it, in place of being refused
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}/")
        settings = uvicorn.Config(application((host, "localhost", *names)), log_level="warning", access_log=False)
        uvicorn.Server(settings).run(sockets=[listening])


def warm_up() -> None:
    """Show every page once, so that the first visitor does not wait for what is imported and compiled."""
    for page in PAGES:
        render.whole(page, PAGES, {})
