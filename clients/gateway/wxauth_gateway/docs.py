"""/openapi.json and /docs: the gateway describes itself, also without a network.

OpenAPI 3.0, since the bundled Swagger UI (4.15) renders no later one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]  # no stubs

from wxauth_gateway import session

OPENAPI_VERSION = "3.0.3"

_DESCRIPTION = """\
Logs mini-program users in, answers whose session a SessionId is, and opens what
WeChat gave to the mini-program.

Every error has the same body, `ErrorAnswer`. Decide on its `reason`: the names
are those of `wxauth.v1.ErrorReason`, where each one is explained.
"""

_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")


# Of the page: its own files and its one script, and nobody frames it. Swagger UI
# writes styles into its elements.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{script}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def describe(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's routes and the one in front of them."""
    document = get_openapi(
        title="wxauth gateway",
        version="1",  # of this HTTP interface, not of the software behind it
        openapi_version=OPENAPI_VERSION,
        description=_DESCRIPTION,
        routes=[*api.routes, session.ROUTE],
    )
    # FastAPI documents its own answer to a bad request, which is not ours.
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


def add_routes(api: FastAPI) -> None:
    """Call it last: it describes the routes that are there."""
    document = JSONResponse(describe(api)).body
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="wxauth gateway",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon-32x32.png",
        # No validator badge: it would send the document to a public service.
        swagger_ui_parameters={"validatorUrl": None, "supportedSubmitMethods": ["get", "post"]},
    ).body

    [script] = _SCRIPT.findall(bytes(page))
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode("ascii")
    policy = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY.format(script=digest)}

    async def openapi(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def docs(_request: Request) -> Response:
        return Response(page, headers=policy, media_type="text/html")

    async def asset(request: Request) -> Response:
        return FileResponse(swagger_ui_path / request.url.path.rpartition("/")[2])

    api.add_route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
    api.add_route("/docs", docs, methods=["GET"], include_in_schema=False)
    for name in _ASSETS:
        api.add_route(f"/docs/{name}", asset, methods=["GET"], include_in_schema=False)
