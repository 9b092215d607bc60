"""Resource names (AIP-122): a collection and an identifier."""

from typing import Final

COMMUNES: Final = "communes"
ZONES: Final = "zones"
SITES: Final = "sites"
CAMERAS: Final = "cameras"
AUTHORISATIONS: Final = "authorisations"


def identifier(name: str) -> str:
    """The identifier in a resource name: ``cameras/cam-01`` gives ``cam-01``; empty stays so."""
    return name.rpartition("/")[2]


def commune_name(insee: str) -> str:
    """``communes/{insee}``."""
    return f"{COMMUNES}/{insee}"


def zone_name(zone: str) -> str:
    """``zones/{zone}``."""
    return f"{ZONES}/{zone}"


def site_name(site: str) -> str:
    """``sites/{site}``; empty for no site."""
    return f"{SITES}/{site}" if site else ""


def camera_name(camera: str) -> str:
    """``cameras/{camera}``."""
    return f"{CAMERAS}/{camera}"


def authorisation_name(authorisation: str) -> str:
    """``authorisations/{authorisation}``."""
    return f"{AUTHORISATIONS}/{authorisation}"
