"""Who is at the other end of a connection between services, by its certificate.

A service is named by a URI of its certificate, ``spiffe://<trust domain>/vigie/<service>`` (SPIFFE
ID, section 2), or, where the authority gives no URIs, by a DNS name ``<service>.<trust domain>``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

GATEWAY: Final = "gateway"
"""The service that carries calls of others and makes none of its own."""
SERVICE_SUBJECT: Final = "service:"
"""What the subject of a service begins with, before its name."""
_NAMES: Final = ("x509_subject_alternative_name", "peer_spiffe_id")
_SERVICE: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


def service_uri(service: str, trust_domain: str) -> str:
    """The SPIFFE ID of a service."""
    return f"spiffe://{trust_domain}/vigie/{service}"


def service_host(service: str, trust_domain: str) -> str:
    """The DNS name of a service, which its callers look for in its certificate."""
    return f"{service}.{trust_domain}"


def service_of(authentication: Mapping[str, Iterable[bytes]], trust_domain: str) -> str | None:
    """The service that the certificate of the other end names.

    Args:
        authentication: `grpc.ServicerContext.auth_context`.
        trust_domain: of this installation.

    Returns:
        Its name; ``None`` for a certificate that names none, or more than one.
    """
    found: set[str] = set()
    for name in _NAMES:
        for value in authentication.get(name) or ():
            service = _named(value.decode("utf-8", "replace"), trust_domain)
            if service is not None:
                found.add(service)
    return found.pop() if len(found) == 1 else None


def _named(value: str, trust_domain: str) -> str | None:
    prefix, suffix = service_uri("", trust_domain), service_host("", trust_domain)
    if value.startswith(prefix):
        service = value.removeprefix(prefix)
    elif value.endswith(suffix):
        service = value.removesuffix(suffix)
    else:
        return None
    return service if _SERVICE.fullmatch(service) else None
