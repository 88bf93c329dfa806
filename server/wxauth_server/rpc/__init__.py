"""gRPC in front of the domain: the only package that knows the transport."""
