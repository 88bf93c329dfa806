"""The control paths for the test: what was called so far, and what shall go wrong.

`GET  /_control/calls`      the history of every interface; ?path=, ?appid= and ?user= choose
`GET  /_control/exchanges`  code2Session's, short
`GET  /_control/mischief`   the knobs, with the seed in use
`POST /_control/mischief`   turns all knobs; {} turns them off
`POST /_control/next`       what happens to the next calls of one interface
`POST /_control/slow`       {"ms": 30000}: every answer comes so much later

A bad request gets 400 and {"error": "<what is wrong>"}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wechat_sandbox import code_to_session
from wechat_sandbox.calls import Calls
from wechat_sandbox.control_request import Asked, RequestRefused, explaining, read_object
from wechat_sandbox.mischief import MAX_SLOW_MS, MischiefRefused, mischief_of
from wechat_sandbox.mischief_maker import AFTER, BEFORE, Fate, MischiefMaker

_FAULTS = (*BEFORE, *AFTER)
_FILTERS = ("path", "appid", "user")
_MOST_ORDERED = 10_000
# Errcodes are numbers of at most 7 digits.
_MOST_ERRCODE = 9_999_999


class FaultControl:
    """The endpoints, over the history and the knobs. `paths` are those of the interfaces."""

    def __init__(self, calls: Calls, mischief: MischiefMaker, paths: Sequence[str]) -> None:
        self._calls = calls
        self._mischief = mischief
        self._paths = tuple(paths)

    def routes(self) -> list[Route]:
        return [
            Route("/_control/calls", explaining(self._list_calls), methods=["GET"]),
            Route("/_control/exchanges", explaining(self._exchanges), methods=["GET"]),
            Route("/_control/mischief", explaining(self._show_mischief), methods=["GET"]),
            Route("/_control/mischief", explaining(self._set_mischief), methods=["POST"]),
            Route("/_control/next", explaining(self._order), methods=["POST"]),
            Route("/_control/slow", explaining(self._slow), methods=["POST"]),
        ]

    async def _list_calls(self, request: Request) -> Response:
        wanted = dict(request.query_params)
        for name in wanted:
            if name not in _FILTERS:
                raise RequestRefused(f"query: has a parameter besides {', '.join(_FILTERS)}")
        listed = [
            {
                "time": call.time,
                "path": call.path,
                "appid": call.app_id,
                "user": call.user,
                "errcode": call.errcode,
                "fault": call.fault,
            }
            for call in self._calls
        ]
        return JSONResponse(
            [call for call in listed if all(call[name] == wanted[name] for name in wanted)]
        )

    async def _exchanges(self, _request: Request) -> Response:
        return JSONResponse(
            [
                {
                    "time": call.time,
                    "appid": call.app_id,
                    "user": call.user,
                    "errcode": call.errcode,
                }
                for call in self._calls
                if call.path == code_to_session.PATH and call.errcode is not None
            ]
        )

    async def _show_mischief(self, _request: Request) -> Response:
        knobs = dataclasses.asdict(self._mischief.knobs)
        return JSONResponse(knobs | {"seed": self._mischief.seed})

    async def _set_mischief(self, request: Request) -> Response:
        try:
            knobs = mischief_of(await read_object(request))
        except MischiefRefused as refusal:
            raise RequestRefused(str(refusal)) from None
        self._mischief.set(knobs)
        self._mischief.announce()
        return await self._show_mischief(request)

    async def _order(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("path", "fault", "errcode", "times"))
        path = asked.one_of("path", self._paths)
        times = asked.number("times", 0, _MOST_ORDERED, default=1)
        if "errcode" in asked and "fault" in asked:
            raise RequestRefused("errcode: not together with fault")
        if "errcode" in asked:
            errcode = asked.number("errcode", -_MOST_ERRCODE, _MOST_ERRCODE)
            if errcode == 0:
                raise RequestRefused("errcode: must not be 0, which is success")
            fate = Fate(fault="errcode", errcode=errcode)
        elif "fault" in asked:
            fate = Fate(fault=asked.one_of("fault", _FAULTS))
        elif times == 0:
            fate = Fate()  # what is taken back need not be said again
        else:
            raise RequestRefused(
                f"fault or errcode: one of them is needed, a fault of {', '.join(_FAULTS)}, "
                "or any errcode but 0"
            )
        self._mischief.order(path, fate, times)
        return JSONResponse({"times": times})

    async def _slow(self, request: Request) -> Response:
        ms = Asked(await read_object(request), ("ms",)).number("ms", 0, MAX_SLOW_MS)
        self._mischief.adjust(
            dataclasses.replace(
                self._mischief.knobs, slow_ms=ms, slow_random_ms=0, slow_percent=100
            )
        )
        return JSONResponse({"ms": ms})
