"""The client of WeChat's server: step 3 of the login. Nothing here knows gRPC or the store."""
