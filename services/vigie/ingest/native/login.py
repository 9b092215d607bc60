"""Which credentials a camera's session shows to whom."""

from vigie.ingest.engine import SourceSpec
from vigie.ingest.rtsp import address as addresses
from vigie.ingest.rtsp.address import Address
from vigie.ingest.rtsp.auth import Authenticator


def authenticator_for(source: SourceSpec, target: Address) -> Authenticator:
    """The credentials for ``target``: none for another host than the camera's own.

    A redirect must not carry a password away.
    """
    own = addresses.parse(source.uri)
    if own.host != target.host:
        return Authenticator("", "")
    if source.username:
        return Authenticator(source.username, source.password)
    return Authenticator(own.username, own.password)
