"""The one door for synchronous callers: token, scopes, organisation, and on to the owner."""
