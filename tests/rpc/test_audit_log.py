"""ListAuditEvents: what leaves the database of what was decided, and what never does."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.running_server import FakeClock, RunningServer, refused
from wxauth.v1.admin_service_pb2 import AccountKey, AuditEvent, ListAuditEventsRequest
from wxauth.v1.auth_service_pb2 import ClientInfo
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.digests import OpenidDigests
from wxauth_server.errors import RequestInvalid
from wxauth_server.keyring import Key, KeyRing, Purpose, State, load_keyring
from wxauth_server.rpc.admin_audit import AuditCalls
from wxauth_server.store.audit import Event, record_event

PASSWORD, WRONG = "correct horse battery", "wrong horse battery"
ADDRESS = "203.0.113.7"
KEPT_MS = 184 * 86_400_000


@pytest.fixture
def calls(timed: RunningServer) -> AuditCalls:
    keyring = load_keyring(timed.configuration.keyring_file)
    return AuditCalls(timed.store, OpenidDigests(keyring), kept_ms=KEPT_MS)


@pytest.fixture
def user(timed: RunningServer, clock: FakeClock) -> str:
    """A WeChat user who bound to zhangsan, logged in a minute later, and was refused."""
    user = timed.new_user()
    client = ClientInfo(address=ADDRESS, device="a \n phone", user_agent="an agent")
    timed.add_account("zhangsan", PASSWORD, account_id="10001")
    timed.login(code=timed.code(user), username="zhangsan", password=PASSWORD, client=client)
    clock.ms += 60_000
    timed.login(code=timed.code(user), client=client)
    clock.ms += 60_000
    refused(
        lambda: timed.login(
            code=timed.code(user), username="zhangsan", password=WRONG, client=client
        )
    )
    return user


def openid_of(server: RunningServer) -> str:
    [(openid,)] = server.rows("SELECT openid FROM bindings")
    return str(openid)


def listed(calls: AuditCalls, **fields: Any) -> list[AuditEvent]:
    """All pages."""
    request = ListAuditEventsRequest(**fields)
    events: list[AuditEvent] = []
    while True:
        answer = calls.ListAuditEvents(request)
        events += answer.events
        if not answer.next_page_token:
            return events
        request.page_token = answer.next_page_token


def names(calls: AuditCalls, **fields: Any) -> list[str]:
    return [event.event for event in listed(calls, **fields)]


def at(milliseconds: int, nanos: int = 0) -> Timestamp:
    time = Timestamp()
    time.FromMilliseconds(milliseconds)
    time.nanos += nanos
    return time


@pytest.mark.usefixtures("user")
def test_an_event_says_who_what_when_from_where(
    timed: RunningServer, calls: AuditCalls, clock: FakeClock
) -> None:
    refusal, login, first, bound = listed(calls)
    assert [e.event for e in (bound, first, login, refusal)] == [
        "BOUND",
        "LOGIN",
        "LOGIN",
        "LOGIN_REFUSED",
    ]
    assert [bound.id, first.id, login.id, refusal.id] == [1, 2, 3, 4]
    for event, ago_ms in ((bound, 120_000), (login, 60_000), (refusal, 0)):
        assert event.time.ToMilliseconds() == clock.ms - ago_ms
        assert (event.actor, event.count, event.app_id) == ("user", 1, DEMO_APP_ID)
        assert (event.account_source, event.account_id) == ("local", "10001")
        assert event.client_address == ADDRESS
        assert event.openid_digest == bound.openid_digest
    assert (bound.reason, refusal.reason) == ("", "CREDENTIALS_INVALID")
    handles = {handle for (handle,) in timed.rows("SELECT handle FROM sessions")}
    assert {first.session_handle, login.session_handle} == handles
    assert (bound.session_handle, refusal.session_handle) == ("", "")


def test_nothing_that_it_says_is_a_secret_or_an_openid(
    timed: RunningServer, calls: AuditCalls, user: str
) -> None:
    """Neither as text nor in the bytes of the message."""
    openid = openid_of(timed)
    session_id = timed.login(code=timed.code(user)).session_id
    said = str(listed(calls)) + "".join(e.SerializeToString().hex() for e in listed(calls))
    for secret in (openid, session_id, PASSWORD, WRONG):
        assert secret not in said
        assert secret.encode().hex() not in said
    digests = {event.openid_digest for event in listed(calls)}
    assert digests == {
        OpenidDigests(load_keyring(timed.configuration.keyring_file)).of(DEMO_APP_ID, openid)
    }


def test_a_digest_tells_users_and_apps_apart_and_needs_the_key() -> None:
    def digests() -> OpenidDigests:
        return OpenidDigests(KeyRing([Key.create(Purpose.DIGEST, State.ACTIVE)]))

    one = digests()
    made = [one.of("wx1", "oOne"), one.of("wx1", "oTwo"), one.of("wx2", "oOne")]
    made += [one.of("wx1o", "One"), digests().of("wx1", "oOne")]
    assert len(set(made)) == 5
    assert one.of("wx1", "oOne") == made[0]
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in made)


@pytest.mark.usefixtures("user")
def test_filters(timed: RunningServer, calls: AuditCalls, clock: FakeClock) -> None:
    everything = ["LOGIN_REFUSED", "LOGIN", "LOGIN", "BOUND"]
    openid = openid_of(timed)
    assert names(calls, account=AccountKey(id="10001")) == everything
    assert names(calls, account=AccountKey(username="ＺhangSan")) == everything
    assert names(calls, account=AccountKey(id="10001", source="crm")) == []
    assert names(calls, account=AccountKey(id="10002")) == []
    assert names(calls, app_id=DEMO_APP_ID, openid=openid) == everything
    assert names(calls, app_id="wxother", openid=openid) == []
    assert names(calls, app_id="wxother") == []
    assert names(calls, caller="admin.token") == []
    assert names(calls, events=["BOUND", "LOGIN_REFUSED"]) == ["LOGIN_REFUSED", "BOUND"]
    assert names(calls, events=["LOGOUT"]) == []
    assert names(calls, after_id=2) == ["LOGIN_REFUSED", "LOGIN"]
    assert names(calls, oldest_first=True) == everything[::-1]
    assert names(calls, since=at(clock.ms)) == ["LOGIN_REFUSED"]
    assert names(calls, since=at(clock.ms, nanos=1)) == []
    assert names(calls, until=at(clock.ms), oldest_first=True) == ["BOUND", "LOGIN", "LOGIN"]
    assert names(calls, until=at(clock.ms, nanos=1)) == everything
    both = {"since": at(clock.ms - 60_000), "until": at(clock.ms)}
    assert names(calls, **both) == ["LOGIN"]
    assert names(calls, since=at(clock.ms), until=at(clock.ms)) == []


def test_pages(timed: RunningServer, calls: AuditCalls) -> None:
    for _ in range(1_201):
        timed.store.write(lambda tx: record_event(tx, Event.LOGIN, now_ms=1))
    assert len(calls.ListAuditEvents(ListAuditEventsRequest()).events) == 100
    for size in (1_201 // 3, 500):
        ids = [event.id for event in listed(calls, page_size=size)]
        assert ids == list(range(1_201, 0, -1))
        ids = [event.id for event in listed(calls, page_size=size, oldest_first=True)]
        assert ids == list(range(1, 1_202))


def test_how_far_back_the_log_goes(timed: RunningServer, calls: AuditCalls) -> None:
    answer = calls.ListAuditEvents(ListAuditEventsRequest())
    assert answer.kept_for.ToMilliseconds() == KEPT_MS
    keyring = load_keyring(timed.configuration.keyring_file)
    for_ever = AuditCalls(timed.store, OpenidDigests(keyring), kept_ms=None)
    assert not for_ever.ListAuditEvents(ListAuditEventsRequest()).HasField("kept_for")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"since": Timestamp(seconds=2**62)}, "since"),
        ({"until": Timestamp(nanos=-1)}, "until"),
        ({"since": Timestamp(seconds=2), "until": Timestamp(seconds=1)}, "until"),
        ({"events": ["LOGIN"] * 33}, "events"),
        ({"events": ["LOGIN", "LOGON"]}, "events"),
        ({"events": [""]}, "events"),
        ({"account": AccountKey()}, None),
        ({"account": AccountKey(source="local")}, "account"),
        ({"account": AccountKey(id="")}, "account.id"),
        ({"account": AccountKey(id="1" * 129)}, "account.id"),
        ({"account": AccountKey(id="1", source="s" * 33)}, "account.source"),
        ({"account": AccountKey(username="nobody")}, "account.username"),
        ({"account": AccountKey(username="a\u202eb")}, "account.username"),
        ({"account": AccountKey(username="zhangsan", source="crm")}, "account.username"),
        ({"app_id": "a\0"}, "app_id"),
        ({"app_id": "a" * 65}, "app_id"),
        ({"openid": "oOne"}, "openid"),
        ({"app_id": "a", "openid": "o" * 65}, "openid"),
        ({"caller": "o" * 65}, "caller"),
        ({"caller": "a\0"}, "caller"),
        ({"after_id": -1}, "after_id"),
        ({"after_id": 2**63 - 1}, None),
        ({"page_size": -1}, "page_size"),
        ({"page_size": 501}, "page_size"),
        ({"page_token": "nonsense"}, "page_token"),
        ({"page_token": "WzFlOTldCg=="}, "page_token"),
        ({"page_token": "Wy0xXQ=="}, "page_token"),
        ({"page_token": "WzkyMjMzNzIwMzY4NTQ3NzU4MDhd"}, "page_token"),
        ({"page_token": "WzkyMjMzNzIwMzY4NTQ3NzU4MDdd"}, None),
    ],
    ids=str,
)
def test_bad_requests_name_the_field(
    timed: RunningServer, calls: AuditCalls, fields: dict[str, Any], field: str | None
) -> None:
    """Unless they can be answered: what lies beyond the log is just not there."""
    timed.store.write(lambda tx: record_event(tx, Event.LOGIN, now_ms=1))
    request = ListAuditEventsRequest(**fields)
    if field is None:
        assert len(calls.ListAuditEvents(request).events) <= 1
        return
    with pytest.raises(RequestInvalid) as refusal:
        calls.ListAuditEvents(request)
    assert [named for named, _ in refusal.value.violations] == [field]
