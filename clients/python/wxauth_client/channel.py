"""How a client is connected: channel options, retries, load balancing, health.

The figures are from fault tests with grpcio 1.85; each says what for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

SERVICE = "wxauth.v1.AuthService"
WECHAT_SERVICE = "wxauth.v1.WeChatService"

DEFAULT_ADDRESS = "127.0.0.1:50051"

# Calls that one client has on the wire at a time; the others wait, inside their
# deadlines. A server counts streams that are still closing, so a client that
# fills more than about 0.9 of the server's limit (max_concurrent_streams, 250)
# gets some calls refused with UNAVAILABLE. Half of the limit is well clear.
MAX_IN_FLIGHT = 128

Options = Mapping[str, str | int]

_SERVICE_CONFIG = {
    # Over all addresses that the name resolves to, not only the first.
    "loadBalancingConfig": [{"round_robin": {}}],
    # A server that is about to stop says so here first: its clients leave before
    # it refuses calls.
    "healthCheckConfig": {"serviceName": SERVICE},
    "methodConfig": [
        {
            # Only what is safe to repeat as it is. A Login is repeated above gRPC,
            # see retrying.py; an Unbind, a DeleteAccount or a GetPhoneNumber may have
            # used up its code, a ResetSessionKey its key, and a RevokeSession the
            # very session that asks.
            "name": [
                {"service": SERVICE, "method": "ValidateSession"},
                {"service": SERVICE, "method": "BatchValidateSessions"},
                {"service": SERVICE, "method": "ListSessions"},
                {"service": WECHAT_SERVICE, "method": "DecryptUserData"},
                {"service": WECHAT_SERVICE, "method": "VerifyUserData"},
                {"service": WECHAT_SERVICE, "method": "CheckSessionKey"},
            ],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 2,
                # CANCELLED: what a server answers to queued calls when it stops
                # (grpc#41785); without it a planned restart fails calls.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # Stops retrying while more than about one call in ten fails, so that
    # retries do not hold down a server that is coming up.
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}
# No "timeout" in there: it would silently cut a longer `timeout_s` of a caller.
# The default deadlines are beside each call, in ..._calls.py.

_OPTIONS: Options = {
    "grpc.service_config": json.dumps(_SERVICE_CONFIG),
    # gRPC's own first backoff is 1 s: of two servers restarted one after the
    # other, the first would still be shunned when the second goes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.keepalive_time_ms": 60_000,  # the server takes one ping in 30 s
    # Clients of one process would otherwise share a connection, and so its limit.
    "grpc.use_local_subchannel_pool": 1,
    # SessionIds do not travel through a proxy that happens to be in the environment.
    "grpc.enable_http_proxy": 0,
}


def channel_options(options: Options | None) -> list[tuple[str, str | int]]:
    """The options above, overridden and completed by the caller's."""
    return list({**_OPTIONS, **(options or {})}.items())
