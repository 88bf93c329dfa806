"""Whatever users of three apps do, no session and no binding crosses from app to app.

A model of the rules, and the server over its socket; hypothesis finds the
sequences. SHOP and MALL are siblings, one with one WeChat user for an account
and one with several. BANK is of the same Open Platform account at WeChat, so
that it sees the same unionids, but no sibling to the server; it registers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.rpc.conftest import BANK, MALL, SHOP, Serve, app_of
from tests.running_server import RunningServer, read_refusal, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import LoginResponse, LogoutRequest, UnbindRequest

PASSWORD = "correct horse battery"
APPS = [app.app_id for app in (SHOP, MALL, BANK)]
SIBLINGS = {SHOP.app_id: MALL.app_id, MALL.app_id: SHOP.app_id}
ONE_TO_ONE = {SHOP.app_id, BANK.app_id}
REGISTERS = {BANK.app_id}
PEOPLE, ACCOUNTS = 3, 2

_examples = itertools.count(1)
_apps, _people = st.sampled_from(APPS), st.integers(0, PEOPLE - 1)


@dataclass
class Session:
    """A session as the model has it. `cause` is why it ended."""

    session_id: str
    app_id: str
    user: str
    account: str
    cause: str | None = None


class Logins(RuleBasedStateMachine):
    """Users who log in, bind, move, leave and are registered; and what must hold."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__()
        self.server = server
        example = next(_examples)
        self.people = [f"person{example}-{number}" for number in range(PEOPLE)]
        self.accounts = [
            server.add_account(f"account{example}-{number}", PASSWORD) for number in range(ACCOUNTS)
        ]
        self.bindings: dict[tuple[str, str], str] = {}
        self.left: set[tuple[str, str]] = set()
        self.sessions: list[Session] = []
        self.registered: set[str] = set()
        self.openids: dict[str, tuple[str, str]] = {}

    # --- What users do ---

    @rule(app_id=_apps, person=_people, account=st.integers(0, ACCOUNTS - 1), rebind=st.booleans())
    def log_in_with_a_password(self, app_id: str, person: int, account: int, rebind: bool) -> None:
        user, wanted = self.people[person], self.accounts[account]
        who, former = (app_id, user), self.bindings.get((app_id, user))
        holder = self._holder(app_id, wanted) if app_id in ONE_TO_ONE else None
        expected = "OK"
        if former != wanted:
            if rebind:
                if former is not None:
                    self._end(who, "REBOUND")
                if holder is not None:
                    self._end((app_id, holder), "REBOUND")
                    sibling = (SIBLINGS.get(app_id, ""), holder)
                    if self.bindings.get(sibling) == wanted:
                        self._end(sibling, "REBOUND")
            elif former is not None:
                expected = "OPENID_ALREADY_BOUND"
            elif holder is not None:
                expected = "ACCOUNT_ALREADY_BOUND"
        answer = self._log_in(
            app_id,
            user,
            username=wanted.removeprefix("id-"),
            password=PASSWORD,
            rebind=rebind,
        )
        if expected != "OK":
            assert answer == expected
            return
        assert isinstance(answer, LoginResponse)
        assert answer.bound_now is (former != wanted)
        if answer.bound_now:
            self.left.discard(who)
        self._bound(who, wanted, answer)

    @rule(app_id=_apps, person=_people)
    def log_in_silently(self, app_id: str, person: int) -> None:
        user = self.people[person]
        who = (app_id, user)
        known = self.bindings.get(who)
        account = known or self._account_of_sibling(app_id, user)
        answer = self._log_in(app_id, user)
        if account is None and app_id not in REGISTERS:
            assert answer == "BINDING_REQUIRED"
            return
        assert isinstance(answer, LoginResponse)
        assert answer.bound_now is (known is None)
        if account is None:
            account = answer.account.id
            assert account not in {*self.accounts, *self.registered, *self.bindings.values()}
            self.registered.add(account)
        self._bound(who, account, answer)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def unbind(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.sessions))
        code = self.server.code(session.user, session.app_id)
        request = UnbindRequest(session_id=session.session_id, code=code)
        if session.cause is None:
            answer = self.server.stub.Unbind(request, timeout=10)
            assert (answer.app_id, answer.account.id) == (session.app_id, session.account)
            who = (session.app_id, session.user)
            assert answer.sessions_ended == self._end(who, "UNBOUND")
            self.left.add(who)
        else:
            refusal = refused(lambda: self.server.stub.Unbind(request, timeout=10))
            assert refusal.metadata == {"cause": session.cause}

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def log_out(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.sessions))
        request = LogoutRequest(session_id=session.session_id)
        if session.cause is None:
            self.server.stub.Logout(request, timeout=10)
            session.cause = "LOGOUT"
        else:
            refusal = refused(lambda: self.server.stub.Logout(request, timeout=10))
            assert refusal.metadata == {"cause": session.cause}

    # --- What must hold ---

    @invariant()
    def the_bindings_are_those_of_the_model(self) -> None:
        found = {
            self.openids[openid]: account
            for openid, account in self.server.rows("SELECT openid, account_id FROM bindings")
            if openid in self.openids
        }
        assert found == self.bindings

    @invariant()
    def who_is_bound_is_bound_once(self) -> None:
        rows = self.server.rows("SELECT app_id, openid, account_id FROM bindings")
        assert len({(app_id, openid) for app_id, openid, _ in rows}) == len(rows)
        exclusive = [(app_id, account) for app_id, _, account in rows if app_id in ONE_TO_ONE]
        assert len(set(exclusive)) == len(exclusive)

    @invariant()
    def every_session_is_of_its_app_and_of_no_other(self) -> None:
        for session in self.sessions[-2:]:  # all of them at the end
            self._look_at(session)

    def teardown(self) -> None:
        for session in self.sessions:
            self._look_at(session)

    def _look_at(self, session: Session) -> None:
        for app_id in APPS:
            if app_id == session.app_id and session.cause is None:
                found = self.server.validate(session.session_id, app_id)
                assert (found.app_id, found.account.id) == (app_id, session.account)
                assert self.openids[found.openid] == (app_id, session.user)
                continue
            refusal = refused(self.server.validate, session.session_id, app_id)
            if app_id == session.app_id:
                assert refusal.metadata == {"cause": session.cause}
            else:
                assert refusal.reason == "SESSION_INVALID"

    # --- The model ---

    def _log_in(self, app_id: str, user: str, **fields: Any) -> LoginResponse | str:
        code = self.server.code(user, app_id)
        try:
            return self.server.login(app_id=app_id, code=code, **fields)
        except grpc.RpcError as error:
            return read_refusal(error).reason

    def _bound(self, who: tuple[str, str], account: str, answer: LoginResponse) -> None:
        assert answer.account.id == account
        self.bindings[who] = account
        self.openids[self.server.validate(answer.session_id).openid] = who
        self.sessions.append(Session(answer.session_id, *who, account))

    def _holder(self, app_id: str, account: str) -> str | None:
        """Who has this account in an app."""
        holders = [u for (a, u), bound in self.bindings.items() if (a, bound) == (app_id, account)]
        return holders[0] if holders else None

    def _account_of_sibling(self, app_id: str, user: str) -> str | None:
        account = self.bindings.get((SIBLINGS.get(app_id, ""), user))
        if account is None or (app_id, user) in self.left:
            return None
        taken = app_id in ONE_TO_ONE and self._holder(app_id, account) is not None
        return None if taken else account

    def _end(self, who: tuple[str, str], cause: str) -> int:
        """End a binding with its sessions; how many these were."""
        del self.bindings[who]
        live = [s for s in self.sessions if (s.app_id, s.user) == who and s.cause is None]
        for session in live:
            session.cause = cause
        return len(live)


def test_apps_do_not_cross(serve: Serve, wechat_of_three: RunningSandbox, long: bool) -> None:
    mall = {"several_users_per_account": True}
    server = serve(
        apps=[
            app_of(SHOP, open_platform="co", session_limit=1000),
            app_of(MALL, open_platform="co", session_limit=1000, **mall),
            app_of(BANK, unbound="register", session_limit=1000),
        ],
        wechat=wechat_of_three,
    )
    run_state_machine_as_test(
        partial(Logins, server),  # type: ignore[arg-type]  # hypothesis only calls it
        settings=settings(
            max_examples=200 if long else 12,
            stateful_step_count=40 if long else 25,
            deadline=None,
            # A failure is told as it was found: to shrink it takes minutes.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=not long,
            database=None,
        ),
    )
