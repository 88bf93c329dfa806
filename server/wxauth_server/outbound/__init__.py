"""Calls to other people's servers: bounded in time and size. Nothing here knows whose."""
