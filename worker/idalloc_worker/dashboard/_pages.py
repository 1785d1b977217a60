"""What the browser is given: one page with its parts, and the fleet as JSON. Nothing is written."""

from collections.abc import Awaitable, Callable, Collection
from importlib.resources import files

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from idalloc_worker.dashboard._feed import Feed

_PARTS = {
    "/": ("index.html", "text/html"),
    "/dashboard.css": ("dashboard.css", "text/css"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    # Names of tags and error texts come from others: nothing but our own files is ever run.
    "content-security-policy": (
        "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; "
        "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def pages(feed: Feed, hosts: Collection[str]) -> Starlette:
    """Make the application; it answers to these names of its host alone, or to all with `*`.

    A page of somebody else's that has its own name lead to 127.0.0.1 reads nothing that way.
    """

    async def fleet(request: Request) -> Response:
        number = request.query_params.get("after", "0")
        if not (number.isascii() and number.isdecimal() and len(number) < 16):
            return PlainTextResponse("after: a number", 400, _HEADERS)
        latest = await feed.newer_than(int(number))
        return Response(latest, 200, _HEADERS, "application/json")

    middleware = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    routes = [Route(path, _part(*part)) for path, part in _PARTS.items()]
    return Starlette(routes=[*routes, Route("/fleet.json", fleet)], middleware=[middleware])


def _part(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    body = files("idalloc_worker.dashboard").joinpath("static", name).read_bytes()

    async def part(_: Request) -> Response:
        return Response(body, 200, _HEADERS, media_type)

    return part
