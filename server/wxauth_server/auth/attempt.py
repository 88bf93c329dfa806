"""What a caller asks for, and who it is: what the steps of a login hand on."""

from __future__ import annotations

from dataclasses import dataclass, field

from wxauth_server.accounts.sources.source import LOCAL, SourceAccount
from wxauth_server.apps import App
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.exchanges import ExchangeRecord
from wxauth_server.store.interface import Transaction
from wxauth_server.store.mirrored_accounts import mirror_account


@dataclass(frozen=True)
class ClientInfo:
    """The user's device as the gateway saw it; empty where unknown."""

    address: str = ""
    user_agent: str = ""
    device: str = ""


@dataclass(frozen=True)
class Credentials:
    """A username and the password that goes with it."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class LoginAsked:
    """What a caller asks for. Two that are equal are the same login, sent twice."""

    app_id: str
    code: str = field(repr=False)
    credentials: Credentials | None = None
    phone_code: str = field(default="", repr=False)
    rebind: bool = False
    request_id: str = field(default="", repr=False)


class ConfirmationNeeded(Exception):
    """The account's source, which is not our own store, has to say that it is enabled.

    Raised in a transaction, of which nothing holds then.
    """

    def __init__(self, account: tuple[str, str]) -> None:
        super().__init__()
        #: (source, id)
        self.account = account


@dataclass(frozen=True)
class Confirmed:
    """An account that its source has just said is enabled."""

    source: str
    account: SourceAccount
    #: When it was asked, milliseconds since 1970.
    asked_ms: int


@dataclass(frozen=True)
class LoginAttempt:
    """A WeChat user, known from a spent code, who wants a session of an app."""

    app: App
    #: AppIds whose bindings may stand for one in `app`.
    siblings: frozenset[str]
    #: Who WeChat said it is.
    person: ExchangeRecord
    client: ClientInfo
    confirmed: Confirmed | None = None

    def require_enabled(
        self, tx: Transaction, account: tuple[str, str], *, now_ms: int
    ) -> SourceAccount | None:
        """Store what the account's source has said, if that is not our own store, and give it.

        Raises: ConfirmationNeeded.
        """
        source, account_id = account
        if source == LOCAL:
            return None  # its row is locked
        confirmed = self.confirmed
        if confirmed is None or (confirmed.source, confirmed.account.id) != account:
            raise ConfirmationNeeded(account)
        if not mirror_account(
            tx,
            source,
            account_id,
            username=confirmed.account.username,
            display_name=confirmed.account.display_name,
            asked_ms=confirmed.asked_ms,
            now_ms=now_ms,
        ):
            raise ConfirmationNeeded(account)
        return confirmed.account

    def record(
        self,
        tx: Transaction,
        event: Event,
        *,
        now_ms: int,
        account: tuple[str, str] | None,
        reason: str | None = None,
        session_handle: str | None = None,
    ) -> None:
        """Append an audit event about this attempt."""
        record_event(
            tx,
            event,
            now_ms=now_ms,
            reason=reason,
            app_id=self.app.app_id,
            openid=self.person.openid,
            account=account,
            session_handle=session_handle,
            client_address=self.client.address,
        )
