"""The JSON that goes in and out: names, types and descriptions. /openapi.json is made of these.

By subject; what they share is in `mapping.py`. How long a text may be is the
server's to say.
"""
