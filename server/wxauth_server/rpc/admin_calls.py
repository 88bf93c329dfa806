"""All methods of AdminService under their names, for the servicer and for the commands."""

from __future__ import annotations

from wxauth_server.accounts.imports.importing import AccountImporter
from wxauth_server.accounts.manage import AccountManager
from wxauth_server.accounts.passwords.new_secrets import Hashes
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.apps import Apps
from wxauth_server.auth.manage_sessions import SessionManager
from wxauth_server.clock import Clock
from wxauth_server.config import Configuration
from wxauth_server.digests import OpenidDigests
from wxauth_server.keyring import KeyRing
from wxauth_server.rpc.admin.access import AccessCalls
from wxauth_server.rpc.admin.accounts import AccountCalls
from wxauth_server.rpc.admin.bindings import BindingCalls
from wxauth_server.rpc.admin.imports import ImportCalls
from wxauth_server.rpc.admin.seen_accounts import SeenAccounts
from wxauth_server.rpc.admin.sessions import SessionCalls
from wxauth_server.rpc.admin_audit import AuditCalls
from wxauth_server.store.audit import Actor
from wxauth_server.store.interface import Store


class AdminCalls:
    """Each method takes its request and returns its response. Blocking; thread-safe.

    But for ListAuditEvents each also takes the `Origin` of the call, for the audit log.
    Raises: the errors that the contract lists.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        store: Store,
        keyring: KeyRing,
        hasher: Hashes,
        clock: Clock,
        actor: Actor,
    ) -> None:
        """`actor` is who the audit log shall say did it. Raises: ConfigurationError."""
        apps = Apps(configuration.served_apps())
        names = NameDigests(keyring)
        seen = SeenAccounts(store, names, configuration.throttle.of_passwords())
        manager = AccountManager(
            store,
            hasher,
            clock,
            names=names,
            context_words=configuration.passwords.context_words,
            actor=actor,
        )
        accounts = AccountCalls(store, manager, seen, apps=apps, clock=clock)
        self.CreateAccount = accounts.create
        self.GetAccount = accounts.get
        self.ListAccounts = accounts.list
        self.SetPassword = accounts.set_password
        self.SetPhone = accounts.set_phone
        self.SetUsername = accounts.set_username

        self.ImportAccounts = ImportCalls(
            AccountImporter(store, clock, actor=actor)
        ).import_accounts

        sources = {LOCAL, *(source.name for source in configuration.account_sources)}
        access = AccessCalls(store, manager, seen, sources=sources)
        self.DisableAccount = access.disable
        self.EnableAccount = access.enable
        self.UnlockAccount = access.unlock

        sessions_manager = SessionManager(store, apps, clock, actor=actor)
        bindings = BindingCalls(store, sessions_manager)
        self.ListBindings = bindings.list
        self.EndBinding = bindings.end
        sessions = SessionCalls(store, sessions_manager, apps=apps, clock=clock)
        self.ListSessions = sessions.list
        self.EndSessions = sessions.end

        digests = OpenidDigests(keyring)
        audit = AuditCalls(store, digests, kept_ms=configuration.audit.kept_ms)
        self.ListAuditEvents = audit.ListAuditEvents
