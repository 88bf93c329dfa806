"""What WeChat's answers look like, byte for byte. No decision is taken here.

HTTP 200 even for errors, `Content-Type: text/plain` without a charset, compact
JSON, no trailing newline.
"""

from __future__ import annotations

import json
import secrets

# errcode -> errmsg without its rid, in WeChat's own wording.
ERRMSG = {
    40002: "invalid grant_type",
    40013: "invalid appid",
    40029: "invalid code",
    40125: "invalid appsecret",
    40163: "code been used",
    41002: "appid missing",
    41004: "appsecret missing",
    41008: "missing code",
    45011: "api minute-quota reach limit",
}


def session_body(session_key: str, openid: str, unionid: str) -> bytes:
    """A successful code2Session, its keys in WeChat's order; an empty `unionid` is left out.

    The three values hold letters, digits and `+/=_-` only, so nothing needs escaping.
    """
    if unionid:
        text = f'{{"session_key":"{session_key}","openid":"{openid}","unionid":"{unionid}"}}'
    else:
        text = f'{{"session_key":"{session_key}","openid":"{openid}"}}'
    return text.encode("ascii")


def error_body(errcode: int, now: float) -> bytes:
    """An error with its rid, whose first group is the hex of `now` in unix seconds."""
    rid = f"{int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"
    answer = {"errcode": errcode, "errmsg": f"{ERRMSG[errcode]}, rid: {rid}"}
    return json.dumps(answer, separators=(",", ":")).encode("ascii")
