"""What WeChat's answers look like, byte for byte. No decision is taken here.

HTTP 200 even for errors, compact JSON, no trailing newline. code2Session says
`Content-Type: text/plain` without a charset, the others name JSON in a way that
no standard knows.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

TEXT = b"text/plain"
JSON = b"application/json; encoding=utf-8"
HTML = b"text/html"

# errcode -> errmsg without its rid, in WeChat's own wording.
ERRMSG = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40013: "invalid appid",
    40014: "invalid access_token",
    40029: "invalid code",
    40125: "invalid appsecret",
    40163: "code been used",
    40164: "invalid ip, not in whitelist",
    40226: "code blocked",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    42001: "access_token expired",
    45011: "api minute-quota reach limit",
    47001: "data format error",
    48001: "api unauthorized",
    87008: "invalid sig_method",
    87009: "invalid signature",
}

#: For an errcode that only a test has made up.
_UNKNOWN_ERRMSG = "an error of the sandbox"

# What a gateway in front of WeChat says when nobody behind it answers.
BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What WeChat decided on one call. `success` is the body of errcode 0.

    `app_id` is None when no app was recognised (somebody may have sent the
    AppSecret in its place), `user` is None when the call belongs to nobody.
    """

    errcode: int
    app_id: str | None = None
    user: str | None = None
    success: bytes = b""


def session_body(session_key: str, openid: str, unionid: str) -> bytes:
    """A successful code2Session, its keys in WeChat's order; an empty `unionid` is left out.

    The three values hold letters, digits and `+/=_-` only, so nothing needs escaping.
    """
    if unionid:
        text = f'{{"session_key":"{session_key}","openid":"{openid}","unionid":"{unionid}"}}'
    else:
        text = f'{{"session_key":"{session_key}","openid":"{openid}"}}'
    return text.encode("ascii")


def json_body(fields: Mapping[str, object]) -> bytes:
    """Compact UTF-8 JSON, keys in their order."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def ok_body(**fields: object) -> bytes:
    """The success of the interfaces that always send an errcode."""
    return json_body({"errcode": 0, "errmsg": "ok"} | fields)


def with_errcode_0(body: bytes) -> bytes:
    """A success that names its errcode, as some of WeChat's machines send it."""
    if body.startswith(b'{"errcode":'):
        return body
    return body[:-1] + b',"errcode":0,"errmsg":"ok"}'


def error_body(errcode: int, now: float, *, legacy: bool = False) -> bytes:
    """An error with its rid, whose first group is the hex of `now` in unix seconds.

    `legacy` is the suffix that WeChat used before 2021.
    """
    if legacy:
        suffix = f", hints: [ req_id: {secrets.token_urlsafe(9)} ]"
    else:
        suffix = f", rid: {int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
    errmsg = ERRMSG.get(errcode, _UNKNOWN_ERRMSG)
    return json_body({"errcode": errcode, "errmsg": errmsg + suffix})
