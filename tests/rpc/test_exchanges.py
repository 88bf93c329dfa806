"""What is kept of a login that can be sent again, for how long, and what a thief learns of it."""

from __future__ import annotations

import hashlib
import hmac

from tests.rpc.logins import bound, sessions
from tests.running_server import FakeClock, RunningServer, refused
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.session_id import encode_session_id
from wxauth_server.store.sqlite import DATABASE_NAME

PASSWORD = "correct horse battery"
WRONG = "not it at all"


def test_the_session_id_is_derived_from_the_request(server: RunningServer) -> None:
    """HMAC-SHA-256 with the row's salt; without the code or the request_id it is nothing."""
    code, request_id = server.code(bound(server)), server.new_request_id()
    session_id = server.login(code=code, request_id=request_id).session_id
    [(salt, code_digest, request_digest)] = server.rows(
        "SELECT salt, code_digest, request_digest FROM exchanges"
    )
    assert len(salt) == 32
    text = f"{DEMO_APP_ID}\0{code}\0{request_id}".encode()
    assert encode_session_id(hmac.new(salt, text, hashlib.sha256).digest()) == session_id
    assert code_digest == hashlib.sha256(code.encode()).digest()
    assert request_digest == hashlib.sha256(request_id.encode()).digest()


def test_without_a_request_id_the_session_id_is_random(server: RunningServer) -> None:
    user = bound(server)
    code = server.code(user)
    session_id = server.login(code=code).session_id
    [(salt, request_digest)] = server.rows("SELECT salt, request_digest FROM exchanges")
    assert request_digest is None
    text = f"{DEMO_APP_ID}\0{code}\0".encode()
    assert encode_session_id(hmac.new(salt, text, hashlib.sha256).digest()) != session_id


def test_the_database_holds_no_secret_of_a_login(server: RunningServer) -> None:
    """Searched byte by byte, with what SQLite keeps beside it; a thief of it learns nothing."""
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    secrets: list[str] = []
    for fields in ({"username": "zhangsan", "password": PASSWORD}, {}):
        code, request_id = server.code(user), server.new_request_id()
        answer = server.login(code=code, request_id=request_id, **fields)
        secrets += [code, request_id, answer.session_id, answer.session_id[4:-6], PASSWORD]
    refused_code, refused_id = server.code(server.new_user()), server.new_request_id()
    refused(lambda: server.login(code=refused_code, request_id=refused_id))
    secrets += [refused_code, refused_id]
    files = sorted(server.configuration.store.directory.glob(f"{DATABASE_NAME}*"))
    assert len(files) > 1, "the write-ahead log is there"
    content = b"".join(path.read_bytes() for path in files)
    assert b"zhangsan" in content, "the search finds what is there"
    for secret in secrets:
        assert secret.encode() not in content


def test_exchanges_are_gone_after_five_minutes(timed: RunningServer, clock: FakeClock) -> None:
    """To the millisecond, verdicts and those without a request_id too."""
    user = bound(timed)
    timed.login(code=timed.code(user), request_id=timed.new_request_id())
    timed.login(code=timed.code(user))
    refused(lambda: timed.login(code=timed.code(timed.new_user())))
    clock.ms += 300_000
    timed.login(code=timed.code(user))
    timed.erase()
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(4,)]
    clock.ms += 1
    timed.erase()
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(1,)]


def test_a_code_that_was_forgotten_is_for_wechat_to_refuse(
    timed: RunningServer, clock: FakeClock
) -> None:
    user = bound(timed)
    request = {"code": timed.code(user), "request_id": timed.new_request_id()}
    timed.login(**request)
    clock.ms += 300_001
    timed.erase()
    assert refused(lambda: timed.login(**request)).reason == "CODE_USED"
    assert sessions(timed) == 1


def test_one_round_erases_all_that_is_old(timed: RunningServer, clock: FakeClock) -> None:
    """However many logins there were: 400 a second make 12,000 between two rounds."""
    timed.store.write(
        lambda tx: tx.execute(
            """
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers
              WHERE n < 12000)
            INSERT INTO exchanges (app_id, code_digest, openid, salt, exchanged_at, settled)
            SELECT 'wx', CAST(n AS BLOB), 'o', x'00', :at, 'LOGGED_IN' FROM numbers
            """,
            {"at": clock.ms - 300_001},
        )
    )
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(12_000,)]
    timed.erase()
    assert timed.rows("SELECT COUNT(*) FROM exchanges") == [(0,)]
