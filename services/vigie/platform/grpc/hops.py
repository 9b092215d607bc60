"""Calls of others that a service of the product carries on: the gateway, ingest for live pictures.

What is carried keeps the caller's own token, request identifier and deadline. The carrier proves
that it is a service (by its certificate, or by `HOP_KEY` where there are none); then, and only
then, it is believed where the call comes from.
"""

from collections.abc import Iterable
from typing import Any, Final

HOP_KEY: Final = "x-vigie-hop"
"""Service token of the carrier, where services have no certificates."""
PEER_KEY: Final = "x-vigie-peer"
"""Address and port of the caller, as gRPC writes them (``ipv4:192.0.2.1:50122``)."""
CARRIED_BY_KEY: Final = "x-vigie-carried-by"
"""Instance that carried the call to the owner of a camera: it is not carried a second time."""
MAX_PEER_CHARACTERS: Final = 128
OURS: Final = frozenset({HOP_KEY, PEER_KEY, CARRIED_BY_KEY})
"""Keys that only services set: what a client sends under these names is dropped."""
_OF_THE_CONNECTION: Final = frozenset({"user-agent", "te", "content-type", "grpc-timeout"})
"""Keys that belong to one connection (gRPC writes them itself), not to the call."""


def carried_metadata(metadata: Iterable[tuple[str, Any]], *, peer: str) -> list[tuple[str, Any]]:
    """What a carried call says: what the caller said, and where it came from."""
    kept = [
        (key, value)
        for key, value in metadata
        if key not in OURS and key not in _OF_THE_CONNECTION and not key.startswith((":", "grpc-"))
    ]
    return [*kept, (PEER_KEY, peer[:MAX_PEER_CHARACTERS])]
