"""Which credentials a camera's session shows to whom, and which texts must not show them."""

import re
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from vigie.ingest.engine import SourceSpec
from vigie.ingest.rtsp import address as addresses
from vigie.ingest.rtsp.address import Address, Scrubber
from vigie.ingest.rtsp.auth import Authenticator
from vigie.ingest.rtsp.errors import RtspError

_USER_INFO: Final = re.compile(r"//[^/?#\s]*?:([^/?#\s]*)@")
_ESCAPE: Final = re.compile(r"%[0-9A-F]{2}")


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


def scrubber_for(source: SourceSpec) -> Scrubber:
    """What takes the camera's password out of texts, whether it stands beside the address or in it.

    A camera may quote it as it was typed, or escaped as in an address.
    """
    secrets = {source.password}
    written = _USER_INFO.search(source.uri)
    if written is not None:
        secrets.add(written[1])
    with suppress(RtspError):  # there will be no session then
        secrets.add(addresses.parse(source.uri).password)
    for secret in tuple(secrets):
        for escaped in (quote(secret, safe=""), quote(secret)):
            secrets.add(escaped)
            secrets.add(_ESCAPE.sub(lambda found: found[0].lower(), escaped))
    return Scrubber(*secrets)
