"""A faithful WeChat server for development and CI. It is not WeChat: keep it off the internet."""

from wechat_sandbox.app import SandboxApp, create_app

__all__ = ["SandboxApp", "create_app"]
