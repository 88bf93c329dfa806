"""What GET /session tells a proxy that asks before it forwards: who it is, or why not.

A proxy copies the headers of a 200 to the service behind it. docs/forward-auth.md
says how, and deploy/ has configurations that name every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from wxauth_client import Session
from wxauth_gateway.messages.mapping import rfc3339

#: Of a refusal: its JSON body, for a proxy that sees the headers of an answer only.
ERROR_HEADER = "X-Wxauth-Error"

#: Of a 200: each header and what it says.
IDENTITY_HEADERS: Mapping[str, Callable[[Session], str]] = {
    "X-Wxauth-Account-Source": lambda session: session.account.source,
    "X-Wxauth-Account-Id": lambda session: session.account.id,
    "X-Wxauth-Username": lambda session: session.account.username,
    "X-Wxauth-App-Id": lambda session: session.app_id,
    "X-Wxauth-Openid": lambda session: session.openid,
    "X-Wxauth-Unionid": lambda session: session.unionid,
    "X-Wxauth-Session-Handle": lambda session: session.handle,
    "X-Wxauth-Login-Time": lambda session: rfc3339(session.login_time),
    "X-Wxauth-Expire-Time": lambda session: rfc3339(session.idle_expire_time),
}

# Visible ASCII but "%": what stays as it is in a header's value. The rest is
# percent-encoded UTF-8, so that no name can break out of its header.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def identity_headers(session: Session) -> dict[str, str]:
    """Who it is, for the service behind a proxy that copies these headers.

    All of them, always, empty if unknown: a header left out would let one of
    the same name through that the client itself had sent.
    """
    return {name: quote(of(session), safe=_SAFE) for name, of in IDENTITY_HEADERS.items()}
