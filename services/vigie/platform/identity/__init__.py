"""The identity port: who a token stands for, and whether he still may."""

from vigie.platform.identity.port import (
    Authenticator,
    Identity,
    IdentityRefusedError,
    TokenSource,
)
from vigie.platform.identity.static import StaticAuthenticator

__all__ = [
    "Authenticator",
    "Identity",
    "IdentityRefusedError",
    "StaticAuthenticator",
    "TokenSource",
]
