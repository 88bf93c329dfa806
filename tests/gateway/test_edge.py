"""What holds at the edge: strict bodies, headers on every answer, nothing secret in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest

from tests.scripted_server import SESSION_ID, ScriptedServer

JSON = {"Content-Type": "application/json"}
BEARER = {"Authorization": f"Bearer {SESSION_ID}"}

# name -> a body that no parser may be left to interpret
NOT_STRICT: dict[str, bytes] = {
    "empty object twice": b"{}{}",
    "array": b"[]",
    "text": b'"code"',
    "null": b"null",
    "cut": b'{"code": "c"',
    "spaces only": b"  ",
    "single quotes": b"{'code': 'c'}",
    "trailing comma": b'{"code": "c",}',
    "equal keys": b'{"code": "a", "code": "b"}',
    "equal keys inside": b'{"code": {"a": 1, "a": 2}}',
    "equal keys, one escaped": b'{"code": "a", "c\\u006fde": "b"}',
    "NaN": b'{"code": NaN}',
    "Infinity": b'{"code": -Infinity}',
    "1e999": b'{"code": 1e999}',
    "4,301 digits": b'{"code": ' + b"1" * 4_301 + b"}",
    "lone surrogate": b'{"code": "\\ud800"}',
    "lone surrogate in a key": b'{"\\udfff": "c"}',
    "encoded surrogate": b'{"code": "\xed\xa0\x80"}',
    "NUL": b'{"code": "a\\u0000"}',
    "raw NUL": b'{"code": "a\x00"}',
    "raw line feed": b'{"code": "a\n"}',
    "byte order mark": b'\xef\xbb\xbf{"code": "c"}',
    "UTF-16": '{"code": "c"}'.encode("utf-16"),
    "UTF-16 without mark": '{"code": "c"}'.encode("utf-16-le"),
    "Latin-1": b'{"code": "\xe9"}',
    "depth 17": b'{"code": ' + b"[" * 16 + b"]" * 16 + b"}",
    "depth 1,000": b'{"code": ' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "depth 8,000, never closed": b"[" * 8_000,
    "objects, never closed": b'{"a":' * 1_600,
    "only closed": b"]" * 8_000,
}


@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=NOT_STRICT)
def test_json_that_is_not_strict(http: httpx.Client, server: ScriptedServer, body: bytes) -> None:
    answer = http.post("/login", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "REQUEST_INVALID")
    assert server.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": "c", "username": "\\ud83d\\ude00"}',  # a whole pair
        '{"code": "c", "username": "😀张三"}'.encode(),
        b'{"code": "c", "username": "[[[[[[[[[[[[[[[[[[[[\\"[[["}',  # brackets in a text
        b' {"code" : "c"}\r\n',
    ],
    ids=range(4),
)
def test_json_that_is_strict(http: httpx.Client, body: bytes) -> None:
    assert http.post("/login", content=body, headers=JSON).status_code == 200


def chunks(body: bytes) -> Iterator[bytes]:
    """httpx sends an iterator as chunks, without Content-Length."""
    for start in range(0, len(body), 1_000):
        yield body[start : start + 1_000]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "code"), [(8_192, 200), (8_193, 413), (100_000, 413)])
def test_the_size_of_a_body(http: httpx.Client, size: int, code: int, chunked: bool) -> None:
    body = b'{"code": "c"}'.ljust(size)
    answer = http.post("/login", content=chunks(body) if chunked else body, headers=JSON)
    assert answer.status_code == code


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=utf-8; x=y", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415),
        ("application/json, text/plain", 415),
        ("application/jsonp", 415),
        ("application/merge-patch+json", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_the_content_type(
    http: httpx.Client, server: ScriptedServer, content_type: str | None, code: int
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = http.post("/login", content=b'{"code": "c"}', headers=headers)
    assert answer.status_code == code
    assert len(server.asked) == (code == 200)


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "application/json"), ("Content-Type", "application/json")],
        [("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
    ],
    ids=["two content types", "compressed"],
)
def test_a_body_with_two_meanings(http: httpx.Client, headers: list[tuple[str, str]]) -> None:
    assert http.post("/login", content=b'{"code": "c"}', headers=headers).status_code == 415


@pytest.mark.parametrize(("method", "status"), [("GET", 400), ("PUT", 405), ("DELETE", 405)])
def test_a_body_where_none_belongs(http: httpx.Client, method: str, status: int) -> None:
    assert http.request(method, "/session", content=b"{}", headers=BEARER).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "code", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/nothing", 404, None),
        ("GET", "/session/", 404, None),
        ("POST", "/login/", 404, None),
        ("GET", "/docs/swagger-ui.js", 404, None),
        ("GET", "/docs/%2e%2e%2f__init__.py", 404, None),
        ("GET", "/redoc", 404, None),
        ("GET", "/login", 405, "POST"),
        ("GET", "/logout", 405, "POST"),
        ("GET", "/unbind", 405, "POST"),
        ("GET", "/wechat/phone-number", 405, "POST"),
        ("GET", "/wechat/user-data", 405, "POST"),
        ("POST", "/wechat", 404, None),
        ("POST", "/sessions", 405, "GET"),
        ("HEAD", "/sessions", 405, "GET"),
        ("GET", "/sessions/", 404, None),
        ("GET", "/sessions/AAAAAAAAAAAAAAAAAAAA-1/revoke", 405, "POST"),
        ("DELETE", "/sessions/AAAAAAAAAAAAAAAAAAAA-1/revoke", 405, "POST"),
        ("DELETE", "/sessions/AAAAAAAAAAAAAAAAAAAA-1", 404, None),
        ("POST", "/sessions//revoke", 404, None),
        ("POST", "/sessions/AAAAAAAAAA%2FAAAAAAAAAA-1/revoke", 404, None),
        ("GET", "/account/delete", 405, "POST"),
        ("DELETE", "/account", 404, None),
        ("POST", "/wechat/user-data/", 404, None),
        ("POST", "/session", 405, "GET"),
        ("HEAD", "/session", 405, "GET"),
        ("OPTIONS", "/session", 405, "GET"),
        ("TRACE", "/session", 405, "GET"),
        ("TRACE", "/login", 405, "POST"),
        ("OPTIONS", "/login", 405, "POST"),
        ("DELETE", "/login", 405, "POST"),
        ("POST", "/healthz", 405, "GET"),
        ("POST", "/openapi.json", 405, "GET, HEAD"),
    ],
)
def test_paths_and_methods(
    http: httpx.Client, method: str, path: str, code: int, allow: str | None
) -> None:
    url = httpx.URL(http.base_url).copy_with(raw_path=path.encode())
    answer = http.request(method, url, headers=BEARER)
    assert (answer.status_code, answer.headers.get("Allow")) == (code, allow)
    if method != "HEAD":
        assert answer.json()["error"]["reason"] == "REQUEST_INVALID"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/login", JSON, b'{"code": "c"}'),
        ("POST", "/login", JSON, b"{}"),
        ("POST", "/login", JSON, b"x"),
        ("POST", "/login", JSON, b" " * 9_000),
        ("POST", "/login", {}, b"x"),
        ("GET", "/login", {}, b""),
        ("GET", "/session", BEARER, b""),
        ("GET", "/session", {}, b""),
        ("TRACE", "/session", {}, b""),
        ("GET", "/nothing", {}, b""),
        ("GET", "/healthz", {}, b""),
        ("GET", "/readyz", {}, b""),
        ("GET", "/openapi.json", {}, b""),
        ("GET", "/docs", {}, b""),
        ("GET", "/docs/swagger-ui.css", {}, b""),
        ("GET", "/session", {"X": "y" * 9_000}, b""),
    ],
    ids=range(16),
)
def test_headers_on_every_answer(
    http: httpx.Client, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = http.request(method, path, headers=headers, content=body)
    assert answer.headers.get_list("Cache-Control") == ["no-store"]
    assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
    for absent in ("Server", "Set-Cookie", "X-Powered-By", "Access-Control-Allow-Origin"):
        assert absent not in answer.headers
    if not path.startswith("/docs"):
        assert answer.headers["Content-Type"] == "application/json"


def test_no_cross_origin(http: httpx.Client) -> None:
    answer = http.options(
        "/login",
        headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_log(
    http: httpx.Client, lenient: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        http.post("/login?password=CANARY", json={"code": "CANARY", "password": "CANARY"})
        lenient.get("/login?username=a&password=CANARY&code=CANARY")
        lenient.get("/login%3Fpassword=CANARY")
        http.get("/session?appId=CANARY", headers={"Authorization": "Bearer CANARY"})
        http.get("/CANARY")
        http.request("GET", "/login?password=CANARY")
        http.post("/sessions/CANARY/revoke", headers=BEARER)
        http.post("/login", content=b'{"password": "CANARY"', headers=JSON)
        http.get("/healthz")  # a line is written just after its answer, before the next one
    # httpx, in this process too, logs its own URLs.
    ours = [record for record in caplog.records if not record.name.startswith("http")]
    assert not [record for record in ours if "CANARY" in record.getMessage()]
    lines = [record.getMessage() for record in ours if record.name == "wxauth.gateway"]
    assert [line.rsplit(" ", 2)[0] for line in lines][:8] == [
        "POST /login 200",
        "GET /login 200",
        "GET - 404",
        "GET /session 200",
        "GET - 404",
        "GET /login 405",
        "POST /sessions/{handle}/revoke 400",
        "POST - 400",
    ]
