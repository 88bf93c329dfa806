"""What AdminService answers, by subject: messages in, the domain, messages out.

No transport here: the commands use it on a data directory without gRPC.
"""
