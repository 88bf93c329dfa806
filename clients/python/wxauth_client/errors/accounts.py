"""Accounts: credentials, bindings and proofs, the company's own account system."""

from __future__ import annotations

from wxauth_client.errors.base import WxauthError


class CredentialsInvalid(WxauthError):
    """Username and password do not match an enabled account."""

    reason = "CREDENTIALS_INVALID"
    status = "UNAUTHENTICATED"


class BindingRequired(WxauthError):
    """No account yet: ask for username and password, log in with a new code."""

    reason = "BINDING_REQUIRED"
    status = "FAILED_PRECONDITION"


class OpenidAlreadyBound(WxauthError):
    """This WeChat user is bound to another account."""

    reason = "OPENID_ALREADY_BOUND"
    status = "ALREADY_EXISTS"


class AccountAlreadyBound(WxauthError):
    """The account is bound to another WeChat user."""

    reason = "ACCOUNT_ALREADY_BOUND"
    status = "ALREADY_EXISTS"


class AccountDisabled(WxauthError):
    """The account bound to this WeChat user is disabled."""

    reason = "ACCOUNT_DISABLED"
    status = "PERMISSION_DENIED"


class ProofInvalid(WxauthError):
    """The code or password is not the session owner's."""

    reason = "PROOF_INVALID"
    status = "PERMISSION_DENIED"


class AccountSourceUnavailable(WxauthError):
    """The company's own account system did not answer as it should; see `retry_after_s`."""

    reason = "ACCOUNT_SOURCE_UNAVAILABLE"
    status = "UNAVAILABLE"


class NotFound(WxauthError):
    """AdminService: there is no such account, binding or session."""

    reason = "NOT_FOUND"
    status = "NOT_FOUND"

    @property
    def what(self) -> str:
        """What there is not: "account", "binding" or "session"."""
        return self.metadata.get("what", "")


class AccountExists(WxauthError):
    """AdminService: another account has this id or username."""

    reason = "ACCOUNT_EXISTS"
    status = "ALREADY_EXISTS"

    @property
    def field(self) -> str:
        """What it has: "id" or "username"."""
        return self.metadata.get("field", "")
