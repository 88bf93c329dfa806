"""Accounts, and what ends with a proof: a binding, or the account itself."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from wxauth_client import Account, DeletedAccount, Unbound
from wxauth_gateway.messages.mapping import In, Out


class AccountBody(Out):
    """One of the company's own accounts."""

    source: str = Field(description="Where the account lives.")
    id: str = Field(description="The company's own user id.")
    username: str = Field(description="Empty if the account has none.")
    display_name: str = Field(description="Empty if unknown.")

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(
            source=account.source,
            id=account.id,
            username=account.username,
            display_name=account.display_name,
        )


class ProofBody(In):
    """Fresh proof that the owner asks: exactly one of the two."""

    code: str = Field("", description="A new code from wx.login of the same WeChat user.")
    password: str = Field("", description="The password of the session's account.")

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if bool(self.code) == bool(self.password):
            raise ValueError("give either code or password")
        return self


class UnbindAnswer(Out):
    """A binding and all its sessions have ended."""

    already: bool = Field(
        description="True if it had been ended before; the other fields are absent then."
    )
    app_id: str | SkipJsonSchema[None] = None
    openid: str | SkipJsonSchema[None] = None
    account: AccountBody | SkipJsonSchema[None] = None
    sessions_ended: int | SkipJsonSchema[None] = Field(
        None, description="How many live sessions ended, this one included."
    )

    @classmethod
    def of(cls, unbound: Unbound) -> Self:
        return cls(
            already=unbound.already,
            app_id=unbound.app_id,
            openid=unbound.openid,
            account=unbound.account and AccountBody.of(unbound.account),
            sessions_ended=unbound.sessions_ended,
        )


class DeletedAccountBody(Out):
    """An account that is no more, by its identity; its names are no longer known."""

    source: str = Field(description="Where the account lived.")
    id: str = Field(description="The company's own user id.")


class DeleteAccountAnswer(Out):
    """An account, all its bindings and all its sessions have ended."""

    already: bool = Field(
        description="True if it had been deleted before; the other fields are absent then."
    )
    account: DeletedAccountBody | SkipJsonSchema[None] = None
    bindings_ended: int | SkipJsonSchema[None] = Field(
        None, description="How many bindings ended, in all mini-programs."
    )
    sessions_ended: int | SkipJsonSchema[None] = Field(
        None, description="How many live sessions ended, this one included."
    )

    @classmethod
    def of(cls, deleted: DeletedAccount) -> Self:
        account = deleted.account
        return cls(
            already=deleted.already,
            account=account and DeletedAccountBody(source=account.source, id=account.id),
            bindings_ended=deleted.bindings_ended,
            sessions_ended=deleted.sessions_ended,
        )
