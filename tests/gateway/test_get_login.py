"""GET /login, where it is allowed."""

from __future__ import annotations

import httpx
import pytest

from tests.gateway.test_login import ANSWER
from tests.scripted_server import ScriptedServer


def test_get_login_is_off_by_default(http: httpx.Client, server: ScriptedServer) -> None:
    answer = http.get("/login?username=a&password=p&code=c")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert server.asked == []


def test_the_textbook_login(lenient: httpx.Client, server: ScriptedServer) -> None:
    # As wx.request encodes it: encodeURIComponent, so a plus is %2B.
    answer = lenient.get(
        "/login?username=%E5%BC%A0%E4%B8%89&password=p%2Bq%26&code=c&appId=wx1&phoneCode=f&requestId=r"
    )
    assert (answer.status_code, answer.json()) == (200, ANSWER)
    request = server.requests("Login")[0]
    assert (request.username, request.password) == ("张三", "p+q&")
    assert (request.code, request.app_id) == ("c", "wx1")
    assert (request.phone_code, request.request_id) == ("f", "r")


@pytest.mark.parametrize(
    "query",
    [
        "code=c&code=c",
        "code=c&password=a&password=b",
        "code=c&app_id=wx1",
        "code=c&more=1",
        "code=c&rebind=true",
        "code=c&rebind=1&username=a&password=p",
        "username=a",
        "",
        "code",
        "code=%FF",
        "code=c&username=%00",
        "code=c&" + "&".join(f"x{number}=1" for number in range(50)),
    ],
    ids=lambda query: query[:30],
)
def test_a_query_that_is_not_a_login(
    lenient: httpx.Client, server: ScriptedServer, query: str
) -> None:
    answer = lenient.get(f"/login?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["reason"] == "REQUEST_INVALID"
    assert server.asked == []


@pytest.mark.parametrize(
    ("query", "field", "problem"),
    [
        ("username=a", "code", "required"),
        ("code=c&app_id=wx1", "app_id", "not known here"),
        ("code=c&rebind=true", "rebind", "not known here"),
    ],
)
def test_what_is_wrong_with_a_query(
    lenient: httpx.Client, query: str, field: str, problem: str
) -> None:
    error = lenient.get(f"/login?{query}").json()["error"]
    assert error["violations"] == [{"field": field, "problem": problem}]


def test_other_methods_name_both_where_get_is_allowed(lenient: httpx.Client) -> None:
    answer = lenient.put("/login")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
