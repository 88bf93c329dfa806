"""The ordered migrations of the schema.

Expand, then contract: a migration that older code can live with keeps
`oldest_compatible`; one that it cannot raises it. Only code older than
`oldest_compatible` refuses to start, so rolling upgrades and rollbacks work.

The statements are SQLite's; store/postgresql_schema.py says them for PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wxauth_server.store.interface import Transaction
from wxauth_server.store.revocation_log import name_the_database


@dataclass(frozen=True)
class Migration:
    """Brings a database from `version - 1` to `version`."""

    version: int
    #: The oldest schema version whose code can serve the migrated database.
    oldest_compatible: int
    statements: tuple[str, ...]
    #: What SQL alone cannot say, after the statements.
    finish: Callable[[Transaction], None] | None = None


_INITIAL = Migration(
    version=1,
    oldest_compatible=1,
    statements=(
        # An account is (source, id). id is the company's own user id.
        # username_key is the username by RFC 8265 UsernameCaseMapped.
        # password is scheme$pepper_id$hash; its version counts every change, so
        # that a login knows whether what it verified still holds.
        """
        CREATE TABLE accounts (
          source TEXT NOT NULL,
          id TEXT NOT NULL,
          username TEXT,
          username_key TEXT,
          display_name TEXT,
          phone TEXT,
          phone_verified_at BIGINT,
          password TEXT,
          password_version BIGINT NOT NULL,
          created_at BIGINT NOT NULL,
          disabled_at BIGINT,
          PRIMARY KEY (source, id),
          UNIQUE (source, username_key)
        )
        """,
        # Identity is (app_id, openid); unionid is only an attribute. `exclusive`
        # is the app's policy when the binding was made.
        """
        CREATE TABLE bindings (
          app_id TEXT NOT NULL,
          openid TEXT NOT NULL,
          account_source TEXT NOT NULL,
          account_id TEXT NOT NULL,
          exclusive INTEGER NOT NULL,
          unionid TEXT,
          bound_at BIGINT NOT NULL,
          PRIMARY KEY (app_id, openid),
          FOREIGN KEY (account_source, account_id) REFERENCES accounts (source, id)
        )
        """,
        """
        CREATE UNIQUE INDEX bindings_one_for_an_account
          ON bindings (app_id, account_source, account_id) WHERE exclusive = 1
        """,
        "CREATE INDEX bindings_of_an_account ON bindings (account_source, account_id)",
        # digest is SHA-256 of the SessionId, which itself is stored nowhere.
        # A dead session keeps its row, so that its client is told the cause.
        # username, display_name and unionid are copies, kept up to date by whoever
        # changes them: a validation is the most frequent call by far and reads one
        # row of one tree.
        """
        CREATE TABLE sessions (
          digest BLOB NOT NULL PRIMARY KEY,
          handle TEXT NOT NULL UNIQUE,
          app_id TEXT NOT NULL,
          openid TEXT NOT NULL,
          account_source TEXT NOT NULL,
          account_id TEXT NOT NULL,
          username TEXT,
          display_name TEXT,
          unionid TEXT,
          login_at BIGINT NOT NULL,
          last_seen_at BIGINT NOT NULL,
          ended_at BIGINT,
          ended_cause TEXT,
          client_address TEXT,
          client_user_agent TEXT,
          client_device TEXT,
          FOREIGN KEY (account_source, account_id) REFERENCES accounts (source, id)
        ) WITHOUT ROWID
        """,
        """
        CREATE INDEX sessions_of_a_wechat_user
          ON sessions (app_id, openid) WHERE ended_at IS NULL
        """,
        """
        CREATE INDEX sessions_of_an_account
          ON sessions (account_source, account_id) WHERE ended_at IS NULL
        """,
        """
        CREATE TABLE audit_events (
          id INTEGER PRIMARY KEY,
          at BIGINT NOT NULL,
          event TEXT NOT NULL,
          reason TEXT,
          app_id TEXT,
          openid TEXT,
          account_source TEXT,
          account_id TEXT,
          session_handle TEXT,
          client_address TEXT
        )
        """,
        # Which keys of the key ring the rows need, so that a server without one
        # of them refuses to start.
        """
        CREATE TABLE keys_in_use (
          purpose TEXT NOT NULL,
          key_id TEXT NOT NULL,
          PRIMARY KEY (purpose, key_id)
        )
        """,
    ),
)

_WHAT_A_SESSION_ALLOWS = Migration(
    version=2,
    # Older code does not know the purpose "seal" in keys_in_use.
    oldest_compatible=2,
    statements=(
        # The newest session_key of a WeChat user, sealed with the key of this id, both
        # or neither; and when WeChat gave the newest one, also if it was erased since.
        "ALTER TABLE bindings ADD COLUMN session_key BLOB",
        "ALTER TABLE bindings ADD COLUMN session_key_id TEXT",
        "ALTER TABLE bindings ADD COLUMN session_key_at BIGINT",
        """
        CREATE INDEX bindings_of_a_unionid
          ON bindings (unionid) WHERE unionid IS NOT NULL
        """,
        """
        CREATE INDEX accounts_of_a_phone
          ON accounts (source, phone) WHERE phone IS NOT NULL
        """,
        # What WeChat said about a code, for five minutes (auth/exchange_code.py).
        # The digests are SHA-256 of the code and of the caller's request_id;
        # request_digest is NULL if there was none. settled is LOGGED_IN or
        # BOUND_AND_LOGGED_IN, or the reason of the verdict, or NULL while a retry may
        # go on; session_key is there only
        # until then.
        """
        CREATE TABLE exchanges (
          app_id TEXT NOT NULL,
          code_digest BLOB NOT NULL,
          request_digest BLOB,
          openid TEXT NOT NULL,
          unionid TEXT,
          session_key BLOB,
          session_key_id TEXT,
          salt BLOB NOT NULL,
          exchanged_at BIGINT NOT NULL,
          settled TEXT,
          PRIMARY KEY (app_id, code_digest)
        )
        """,
        "CREATE INDEX exchanges_by_age ON exchanges (exchanged_at)",
        # WeChat users who unbound: no sibling login for them until they have
        # logged in with a password again.
        """
        CREATE TABLE no_sibling (
          app_id TEXT NOT NULL,
          openid TEXT NOT NULL,
          PRIMARY KEY (app_id, openid)
        )
        """,
        # HMAC of a fixed text with the key, so that a key that was changed under
        # its id is noticed. NULL in rows from before.
        "ALTER TABLE keys_in_use ADD COLUMN check_value BLOB",
    ),
)

_GUESSING_AND_OPERATORS = Migration(
    version=3,
    # Older code leaves the new columns at their defaults and counts no failures.
    oldest_compatible=2,
    statements=(
        # Failed attempts, whether the account exists or not. `name` is a keyed digest
        # of account source and mapped username. A row is about one WeChat user and
        # one name; about a name, with app_id and openid empty; or about a WeChat
        # user, with name empty (accounts/throttle.py). `pending` attempts were
        # begun, the last at reserved_at, and have not ended.
        """
        CREATE TABLE throttles (
          name BLOB NOT NULL,
          app_id TEXT NOT NULL,
          openid TEXT NOT NULL,
          failures BIGINT NOT NULL,
          pending BIGINT NOT NULL,
          reserved_at BIGINT NOT NULL,
          failed_at BIGINT NOT NULL,
          PRIMARY KEY (name, app_id, openid)
        )
        """,
        # Those about a name, whoever tries, are kept longer than the others.
        "CREATE INDEX throttles_by_age ON throttles ((openid = ''), reserved_at)",
        # Since when the user has left, and since when the account's source knows.
        "ALTER TABLE accounts ADD COLUMN deleted_at BIGINT",
        "ALTER TABLE accounts ADD COLUMN deletion_told_at BIGINT",
        """
        CREATE INDEX accounts_that_were_deleted
          ON accounts (source, deleted_at) WHERE deleted_at IS NOT NULL
        """,
        "CREATE INDEX sessions_by_login ON sessions (login_at)",
        # The dead ones too, now: a user who leaves takes their names along.
        "DROP INDEX sessions_of_an_account",
        """
        CREATE INDEX sessions_of_an_account
          ON sessions (account_source, account_id, ended_at)
        """,
        # Who has left and may still be told of, by dead sessions and by audit events
        # up to left_at (auth/erase_traces.py): an account, with app_id and openid empty,
        # or a WeChat user who was that account.
        """
        CREATE TABLE departures (
          account_source TEXT NOT NULL,
          account_id TEXT NOT NULL,
          app_id TEXT NOT NULL,
          openid TEXT NOT NULL,
          left_at BIGINT NOT NULL,
          PRIMARY KEY (account_source, account_id, app_id, openid)
        )
        """,
        """
        CREATE INDEX departures_by_age
          ON departures (left_at, account_source, account_id, app_id, openid)
        """,
        # Who did it: user, admin or command; NULL in rows from before: a user or a
        # command. An event with a count_key stands for `count` of them in one
        # minute; the key is a digest of the minute and of everything else it tells.
        "ALTER TABLE audit_events ADD COLUMN actor TEXT",
        "ALTER TABLE audit_events ADD COLUMN count BIGINT NOT NULL DEFAULT 1",
        "ALTER TABLE audit_events ADD COLUMN count_key BLOB",
        """
        CREATE UNIQUE INDEX audit_events_counted
          ON audit_events (count_key) WHERE count_key IS NOT NULL
        """,
        """
        CREATE INDEX audit_events_of_an_account
          ON audit_events (account_source, account_id) WHERE account_id IS NOT NULL
        """,
        """
        CREATE INDEX audit_events_of_a_wechat_user
          ON audit_events (app_id, openid) WHERE openid IS NOT NULL
        """,
    ),
)

_SEVERAL_OPERATORS = Migration(
    version=4,
    # Older code leaves the new column NULL.
    oldest_compatible=2,
    statements=(
        # The name of the caller of AdminService who did it. NULL if none did, and in
        # rows from before.
        "ALTER TABLE audit_events ADD COLUMN caller TEXT",
        # Nothing to write for what users do, which is nearly everything.
        """
        CREATE INDEX audit_events_of_a_caller
          ON audit_events (caller) WHERE caller IS NOT NULL
        """,
    ),
)

_REVOCATION_LOG = Migration(
    version=5,
    # Older code ends sessions without telling those that answer from memory.
    oldest_compatible=5,
    statements=(
        # What ended sessions before their time, in the order of the commits, for an
        # hour (store/revocation_log.py). An entry is about one session, by its digest,
        # or about those of an app, of all apps if app_id is empty, that began by a time.
        """
        CREATE TABLE revocations (
          position BIGINT NOT NULL PRIMARY KEY,
          digest BLOB,
          app_id TEXT,
          login_by BIGINT,
          logged_at BIGINT NOT NULL
        )
        """,
        "CREATE INDEX revocations_by_age ON revocations (logged_at)",
        # The position of the newest entry, 0 where the database itself numbers entries
        # (PostgreSQL), and a random id that no other database has: a position means
        # nothing without it.
        """
        CREATE TABLE revocation_log (
          one INTEGER PRIMARY KEY CHECK (one = 1),
          database_id TEXT NOT NULL,
          position BIGINT NOT NULL
        )
        """,
        # Sessions of an app that began by a time are ended, whether their rows say so yet
        # or not.
        """
        CREATE TABLE sessions_valid_after (
          app_id TEXT NOT NULL PRIMARY KEY,
          login_by BIGINT NOT NULL,
          ended_at BIGINT NOT NULL,
          cause TEXT NOT NULL
        )
        """,
    ),
    finish=name_the_database,
)

MIGRATIONS: tuple[Migration, ...] = (
    _INITIAL,
    _WHAT_A_SESSION_ALLOWS,
    _GUESSING_AND_OPERATORS,
    _SEVERAL_OPERATORS,
    _REVOCATION_LOG,
)
