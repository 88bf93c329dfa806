"""A faithful WeChat server for development and CI. It is not WeChat: keep it off the internet."""

from wechat_sandbox.app import create_app
from wechat_sandbox.mischief import Mischief, MischiefRefused, mischief_of, read_mischief
from wechat_sandbox.world import SandboxApp

__all__ = [
    "Mischief",
    "MischiefRefused",
    "SandboxApp",
    "create_app",
    "mischief_of",
    "read_mischief",
]
