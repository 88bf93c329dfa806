"""What an operator sets of the answers about live sessions that a server keeps in memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SessionCacheSettings(BaseModel):
    """How much a server keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: Sessions at most, some 700 bytes each; 0: the database is read for each validation
    #: (docs/decisions/0016-session-cache.md).
    sessions: Annotated[int, Field(ge=0, le=10_000_000)] = 100_000
