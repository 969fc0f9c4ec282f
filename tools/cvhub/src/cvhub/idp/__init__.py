"""The local identity provider: OAuth 2 client credentials for this machine, read by the gateway as any provider's."""
