"""Takes users who have left out of the rows that stay: dead sessions and the audit log.

The rows of most users go in the transaction in which they leave. What is more
than that is noted there (store/departures.py) and done later, a little at a
time: a crash forgets nothing. Pseudonyms are told from names, so that doing it
twice does no harm.
"""

from __future__ import annotations

from wxauth_server.auth.pseudonyms import PREFIX, Pseudonyms
from wxauth_server.store.departures import (
    Departure,
    PersonalEvent,
    depersonalise_event,
    depersonalise_session,
    end_departure,
    next_departure,
    note_former_wechat_user,
    personal_events,
    personal_sessions,
)
from wxauth_server.store.interface import Transaction

#: How long after somebody left there may still come an audit event of before: of a
#: login that was under way, or of refusals that were counted in memory.
LATE_EVENT_MS = 60_000
#: Departures that are looked at in one transaction; most of them are done already.
_MOST_LOOKED_AT = 500


def erase_traces(
    tx: Transaction,
    pseudonyms: Pseudonyms,
    *,
    now_ms: int,
    account: tuple[str, str] | None = None,
    limit: int,
) -> int:
    """Put pseudonyms in `limit` rows, of one account if given; how many they were.

    Twice `limit` at most. Fewer than `limit`: that is all for now.
    """
    done = 0
    departure = None
    for _ in range(_MOST_LOOKED_AT):
        departure = next_departure(tx, after=departure, account=account)
        if departure is None or done >= limit:
            break
        rows = limit - done
        if not departure.openid:
            done += _erase_from_sessions(tx, pseudonyms, departure, limit=rows)
        done += _erase_from_events(tx, pseudonyms, departure, limit=rows)
        if done < limit and now_ms > departure.left_at + LATE_EVENT_MS:
            end_departure(tx, departure)
    return done


def _erase_from_sessions(
    tx: Transaction, pseudonyms: Pseudonyms, departure: Departure, *, limit: int
) -> int:
    found = personal_sessions(tx, departure, pseudonym_prefix=PREFIX, limit=limit)
    # Also those who were the account before others were.
    for app_id, openid in sorted({(session.app_id, session.openid) for session in found}):
        note_former_wechat_user(tx, departure, app_id, openid)
    for session in found:
        openid = pseudonyms.of_wechat_user(session.app_id, session.openid)
        depersonalise_session(tx, session.digest, openid=openid)
    return len(found)


def _erase_from_events(
    tx: Transaction, pseudonyms: Pseudonyms, departure: Departure, *, limit: int
) -> int:
    found = personal_events(tx, departure, limit=limit)
    for event in found:
        depersonalise_event(tx, _under_pseudonyms(event, pseudonyms, departure))
    return len(found)


def _under_pseudonyms(
    event: PersonalEvent, pseudonyms: Pseudonyms, departure: Departure
) -> PersonalEvent:
    if not departure.openid:
        event = event._replace(
            account_id=pseudonyms.of_account(departure.account_source, departure.account_id)
        )
    # Another account in an event of the WeChat user is another user, who has not left.
    if event.openid and not event.openid.startswith(PREFIX):
        event = event._replace(openid=pseudonyms.of_wechat_user(event.app_id or "", event.openid))
    if event.session_handle and not event.session_handle.startswith(PREFIX):
        event = event._replace(session_handle=pseudonyms.of_session(event.session_handle))
    return event
