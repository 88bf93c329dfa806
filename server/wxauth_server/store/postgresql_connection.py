"""One connection to PostgreSQL: how it is made, and how long anything may take on it.

A server that is frozen keeps no time limit, neither statement_timeout nor those of
TCP: its kernel goes on to acknowledge. So the client stops waiting at a moment of
its own, a little after the server would have ended the statement, and then the
connection is closed, whatever is under way on it.
"""

from __future__ import annotations

import logging
import math
import select
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from wxauth_server.deadline import Deadline
from wxauth_server.store.interface import Row

#: Most that an answer takes, counted from the answer before it, so that a long
#: transaction of many short statements has its time. A frozen server is noticed
#: by then (reliability.md row 8b: 1.5 s).
PATIENCE_S = 1.25
#: The same for a validation, waiting for its connection included; whoever asked
#: has gone after 400 ms (design.md section 7).
READ_SESSIONS_PATIENCE_S = 0.35
#: What the client waits longer than the server is told to take: who ends a
#: statement by itself can go on with the connection.
GRACE_S = 0.1
#: Ends a transaction whose client has gone without a word, and with it its locks.
_IDLE_IN_TRANSACTION_S = 5
#: An idle connection is found dead after this, before firewalls forget about it.
_KEEPALIVE_S = 30
# As psycopg: it makes 2 s of 1. Nobody waits for it but the threads that connect.
_CONNECT_S = 2
#: Statements kept prepared by connection; more than we have, in all their types.
_PREPARED = 500


class TimedConnection(psycopg.Connection[Row]):
    """Waits for no answer beyond `due`, and begins `patience_s` anew with every answer.

    Raises psycopg's errors. After one of a wait it is closed, if something was under way.
    """

    patience_s = PATIENCE_S
    due = Deadline(math.inf)

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        del timeout  # nobody gives one
        try:
            answer = super().wait(gen, interval, timeout=self.due.left_s())
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise
        self.be_patient()
        return answer

    def be_patient(self) -> None:
        """Begin the time anew that an answer may take."""
        self.due = Deadline(self.patience_s)

    @property
    def is_stale(self) -> bool:
        """Whether something happened to the idle connection: nobody speaks to it unasked."""
        if self.closed:
            return True
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        return bool(poller.poll(0))


def connection_options(url: str, patience_s: float) -> dict[str, Any]:
    """Arguments of `TimedConnection.connect`."""
    # As options of the start and not as statements: they cost nothing, and a pooler,
    # which would carry them to others, refuses them.
    server_settings: Mapping[str, int] = {
        "statement_timeout": _ms(patience_s - GRACE_S),
        "lock_timeout": _ms(patience_s - GRACE_S),
        "idle_in_transaction_session_timeout": _ms(_IDLE_IN_TRANSACTION_S),
    }
    return conninfo_to_dict(url) | {
        "autocommit": True,  # we say BEGIN ourselves
        "prepare_threshold": 2,
        "connect_timeout": _CONNECT_S,
        "tcp_user_timeout": _ms(patience_s),
        "keepalives": 1,
        "keepalives_idle": _KEEPALIVE_S,
        "keepalives_interval": math.ceil(PATIENCE_S),
        "client_encoding": "UTF8",
        "application_name": "wxauth",
        "options": " ".join(f"-c {name}={value}" for name, value in server_settings.items()),
    }


def set_up(connection: TimedConnection, patience_s: float) -> None:
    """What a new connection needs to know."""
    connection.patience_s = patience_s
    connection.be_patient()
    connection.prepared_max = _PREPARED
    # One type for each parameter, whatever its value: a prepared statement fits it.
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_dumper(str, StrDumper)


def quiet_driver() -> None:
    """Its messages quote hosts, users and what servers said; we say what matters."""
    for library in ("psycopg", "psycopg.pool"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
