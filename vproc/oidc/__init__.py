"""Tokens of an OpenID Connect issuer: its keys, whether a token holds, whose request it proves. Nothing else reads a token."""
