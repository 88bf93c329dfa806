"""The Python of docs/admin.md does what it says."""

from __future__ import annotations

from typing import Any

from tests.admin_caller import PASSWORD, token_of
from tests.e2e.test_docs import DOCS, snippet
from tests.running_server import RunningServer, refused


def test_a_user_is_locked_out(server: RunningServer) -> None:
    user = server.bound("zhangsan", PASSWORD)
    session = server.login(code=server.code(user)).session_id
    token_of(server)
    code = snippet(DOCS / "admin.md", "admin-python")
    for shown, here in (
        ("127.0.0.1:50051", server.address),
        ("/var/lib/wxauth", str(server.configuration.store.directory)),
    ):
        assert shown in code
        code = code.replace(shown, here)
    defined: dict[str, Any] = {}
    exec(code, defined)
    try:
        assert defined["lock_out"]("id-zhangsan") == 2
    finally:
        defined["CHANNEL"].close()
    assert refused(server.validate, session).metadata == {"cause": "ACCOUNT_DISABLED"}
