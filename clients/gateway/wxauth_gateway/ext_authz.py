"""/ext-authz/{appId}/…: GET /session for Envoy, which sends the method and path of the original.

Envoy's ext_authz can put a prefix before the path of the request that it asks
about; it cannot send another method, nor a query string of its own. So any method
and any path below the prefix mean `GET /session?appId=`, and with "any" in the
place of the appId `GET /session`. What they were is not looked at, and no route can
be reached through them: nothing opens here that is not open at /session.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from wxauth_gateway import session

ANY_APP = "any"  # no AppId: those begin with "wx"
_PATH = re.compile("/ext-authz/([^/]+)")


class ExtAuthz:
    """Wraps what serves GET /session, and turns such requests into it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (match := _PATH.match(scope["path"])):
            query = "" if match[1] == ANY_APP else urlencode({"appId": match[1]})
            # A copy: the HTTP server goes by its own, for HEAD. raw_path stays, since it
            # counts for the size of the head.
            scope = {
                **scope,
                "method": "GET",
                "path": session.PATH,
                "query_string": query.encode("ascii"),
            }
        await self._app(scope, receive, send)
