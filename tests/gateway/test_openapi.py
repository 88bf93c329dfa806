"""/openapi.json is valid, complete, and true of what the gateway answers."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from tests.scripted_server import HANDLES, SESSION_ID, ScriptedServer, fail, refuse

BEARER = {"Authorization": f"Bearer {SESSION_ID}"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    return dict(http.get("/openapi.json").json())


def test_it_is_valid(document: dict[str, Any], lenient: httpx.Client) -> None:
    OpenAPIV30SpecValidator(document).validate()
    OpenAPIV30SpecValidator(lenient.get("/openapi.json").json()).validate()


def test_it_names_every_route(document: dict[str, Any], lenient: httpx.Client) -> None:
    def routes(described: dict[str, Any]) -> set[tuple[str, str]]:
        return {(path, method) for path, item in described["paths"].items() for method in item}

    always = {
        ("/login", "post"),
        ("/session", "get"),
        ("/logout", "post"),
        ("/unbind", "post"),
        ("/sessions", "get"),
        ("/sessions/{handle}/revoke", "post"),
        ("/account/delete", "post"),
        ("/wechat/phone-number", "post"),
        ("/wechat/user-data", "post"),
        ("/healthz", "get"),
        ("/readyz", "get"),
    }
    assert routes(document) == always
    assert routes(lenient.get("/openapi.json").json()) == always | {("/login", "get")}


def test_everything_is_described(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["description"], path
            assert "422" not in operation["responses"], path
            assert {"200", "400", "500"} <= set(operation["responses"]), path
            for code, response in operation["responses"].items():
                schema = response["content"]["application/json"]["schema"]
                assert (schema == {"$ref": "#/components/schemas/ErrorAnswer"}) == (code >= "400")
    assert document["components"]["securitySchemes"]["SessionId"]["scheme"] == "bearer"
    for path, method in (
        ("/session", "get"),
        ("/logout", "post"),
        ("/unbind", "post"),
        ("/sessions", "get"),
        ("/sessions/{handle}/revoke", "post"),
        ("/account/delete", "post"),
        ("/wechat/phone-number", "post"),
        ("/wechat/user-data", "post"),
    ):
        assert document["paths"][path][method]["security"] == [{"SessionId": []}]


LOGIN = (
    b'{"code": "c", "username": "a", "password": "p", "appId": "wx1", "device": "d",'
    b' "rebind": true, "requestId": "r"}'
)
USER_DATA = b'{"encryptedData": "x", "iv": "y", "rawData": "{}", "signature": "z"}'
RAW_DATA = b'{"rawData": "{}", "signature": "z"}'
REVOKED = refuse("SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": "UNBOUND"})
DELETED = refuse("SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": "ACCOUNT_DELETED"})
PROOF_INVALID = refuse("PROOF_INVALID", "PERMISSION_DENIED")
THROTTLED = refuse("THROTTLED", "RESOURCE_EXHAUSTED", retry_after_s=900)
REVOKE = f"/sessions/{HANDLES[0]}/revoke"

# (method, path, headers, body, what the server answers to anything, expected status)
CASES: list[tuple[str, str, dict[str, str], bytes, Any, int]] = [
    ("POST", "/login", JSON, LOGIN, None, 200),
    ("POST", "/login", JSON, b"{}", None, 400),
    ("POST", "/login", JSON, LOGIN, refuse("CODE_USED", "UNAUTHENTICATED"), 401),
    ("POST", "/login", JSON, LOGIN, refuse("ACCOUNT_DISABLED", "PERMISSION_DENIED"), 403),
    ("POST", "/login", JSON, LOGIN, refuse("OPENID_ALREADY_BOUND", "ALREADY_EXISTS"), 409),
    ("POST", "/login", JSON, b" " * 9_000, None, 413),
    ("POST", "/login", {}, LOGIN, None, 415),
    ("POST", "/login", JSON, LOGIN, refuse("OVERLOADED", "RESOURCE_EXHAUSTED"), 429),
    ("POST", "/login", JSON | {"X": "y" * 9_000}, LOGIN, None, 431),
    ("POST", "/login", JSON, LOGIN, fail("UNKNOWN"), 500),
    ("POST", "/login", JSON, LOGIN, fail("UNAVAILABLE"), 503),
    ("POST", "/login", JSON, LOGIN, fail("DEADLINE_EXCEEDED"), 504),
    ("GET", "/session", BEARER, b"", None, 200),
    ("GET", "/session?x=1", BEARER, b"", None, 400),
    ("GET", "/session", {}, b"", None, 401),
    ("GET", "/session", BEARER, b"", refuse("OVERLOADED", "RESOURCE_EXHAUSTED"), 429),
    ("GET", "/session", BEARER, b"", fail("INTERNAL"), 500),
    ("GET", "/session", BEARER, b"", fail("UNAVAILABLE"), 503),
    ("GET", "/session", BEARER, b"", fail("DEADLINE_EXCEEDED"), 504),
    ("POST", "/logout", BEARER, b"", None, 200),
    ("POST", "/logout", {}, b"", None, 401),
    ("POST", "/logout", BEARER | JSON, b"[]", None, 400),
    ("POST", "/unbind", BEARER | JSON, b'{"code": "c"}', None, 200),
    ("POST", "/unbind", BEARER | JSON, b'{"code": "c"}', REVOKED, 200),
    ("POST", "/unbind", BEARER | JSON, b"{}", None, 400),
    ("POST", "/unbind", BEARER | JSON, b'{"code": "c"}', PROOF_INVALID, 403),
    ("GET", "/sessions", BEARER, b"", None, 200),
    ("GET", "/sessions", {}, b"", None, 401),
    ("GET", "/sessions", BEARER, b"", refuse("SESSION_EXPIRED", "UNAUTHENTICATED"), 401),
    ("GET", "/sessions", BEARER, b"", refuse("OVERLOADED", "RESOURCE_EXHAUSTED"), 429),
    ("GET", "/sessions", BEARER, b"", fail("UNAVAILABLE"), 503),
    ("POST", REVOKE, BEARER, b"", None, 200),
    ("POST", REVOKE, BEARER | JSON, b"[]", None, 400),
    ("POST", "/sessions/x/revoke", BEARER, b"", None, 400),
    ("POST", REVOKE, {}, b"", None, 401),
    ("POST", REVOKE, BEARER, b"{}", None, 415),
    ("POST", "/account/delete", BEARER | JSON, b'{"code": "c"}', None, 200),
    ("POST", "/account/delete", BEARER | JSON, b'{"code": "c"}', DELETED, 200),
    ("POST", "/account/delete", BEARER | JSON, b"{}", None, 400),
    ("POST", "/account/delete", JSON, b'{"code": "c"}', None, 401),
    ("POST", "/account/delete", BEARER | JSON, b'{"code": "c"}', PROOF_INVALID, 403),
    ("POST", "/account/delete", BEARER | JSON, b'{"code": "c"}', THROTTLED, 429),
    ("POST", "/account/delete", BEARER | JSON, b'{"code": "c"}', fail("UNAVAILABLE"), 503),
    ("POST", "/wechat/phone-number", BEARER | JSON, b'{"code": "c"}', None, 200),
    ("POST", "/wechat/phone-number", BEARER | JSON, b"{}", None, 400),
    ("POST", "/wechat/phone-number", JSON, b'{"code": "c"}', None, 401),
    (
        "POST",
        "/wechat/phone-number",
        BEARER | JSON,
        b'{"code": "c"}',
        refuse("WECHAT_RATE_LIMITED", "RESOURCE_EXHAUSTED", retry_after_s=60),
        429,
    ),
    ("POST", "/wechat/user-data", BEARER | JSON, USER_DATA, None, 200),
    ("POST", "/wechat/user-data", BEARER | JSON, RAW_DATA, None, 200),
    ("POST", "/wechat/user-data", BEARER | JSON, b"{}", None, 400),
    (
        "POST",
        "/wechat/user-data",
        BEARER | JSON,
        USER_DATA,
        refuse("SESSION_KEY_INVALID", "FAILED_PRECONDITION"),
        400,
    ),
    ("POST", "/wechat/user-data", JSON, USER_DATA, None, 401),
    ("POST", "/wechat/user-data", BEARER | JSON, b" " * 65_537, None, 413),
    ("POST", "/wechat/user-data", BEARER | JSON, USER_DATA, fail("UNAVAILABLE"), 503),
    ("GET", "/healthz", {}, b"", None, 200),
    ("GET", "/readyz", {}, b"", None, 200),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "script", "code"),
    CASES,
    ids=[f"{number} {case[0]} {case[1]} {case[5]}" for number, case in enumerate(CASES)],
)
def test_what_it_answers_is_what_it_says(
    http: httpx.Client,
    server: ScriptedServer,
    document: dict[str, Any],
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    script: Any,
    code: int,
) -> None:
    if script is not None:
        server.answers = dict.fromkeys(server.answers, script)
    answer = http.request(method, path, headers=headers, content=body)
    assert answer.status_code == code
    declared = re.sub("^/sessions/[^/]+/", "/sessions/{handle}/", path.partition("?")[0])
    operation = document["paths"][declared][method.lower()]
    response = operation["responses"][str(code)]
    schema = response["content"]["application/json"]["schema"]
    strict = _closed({**schema, "components": document["components"]})
    OAS30Validator(strict).validate(answer.json())
    for name in response.get("headers", {}):
        if name != "Retry-After" or code != 429:  # where known
            assert name in answer.headers


def _closed(schema: Any) -> Any:
    """The same schema without room for properties that it does not name."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def test_every_documented_error_is_the_envelope(document: dict[str, Any]) -> None:
    error = document["components"]["schemas"]["ErrorBody"]
    assert error["required"] == ["code", "status", "reason", "message", "metadata"]
    assert "null" not in json.dumps(document)


def test_the_docs_need_no_other_host(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name, kind in (
        ("swagger-ui-bundle.js", "javascript"),
        ("swagger-ui.css", "text/css"),
        ("favicon-32x32.png", "image/png"),
    ):
        assert f"/docs/{name}" in page.text
        asset = http.get(f"/docs/{name}")
        assert asset.status_code == 200
        assert kind in asset.headers["Content-Type"]
