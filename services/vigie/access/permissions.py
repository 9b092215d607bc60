"""The closed catalogue of permissions and the roles that carry them: one place, one page.

Every permission that a contract names stands here (a test compares), with what it allows in both
languages. Roles follow the separation the law asks for: who administers sees no footage, who
looks at footage does not read the log of it, who audits changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class PermissionSpec:
    """One permission.

    Attributes:
        name: ``<what>.<act>``.
        description_en: what it allows, in English.
        description_fr: the same in French.
        internal: only services of the product hold it.
    """

    name: str
    description_en: str
    description_fr: str
    internal: bool = False


PERMISSIONS: Final = (
    PermissionSpec(
        "access.read",
        "See who is designated, with which roles and zones.",
        "Voir qui est désigné, avec quels rôles et quelles zones.",
    ),
    PermissionSpec(
        "audit.export",
        "Take records of the access log out of the product.",
        "Sortir du produit des enregistrements du journal des accès.",
    ),
    PermissionSpec(
        "audit.read",
        "Search and read the access log.",
        "Chercher et lire dans le journal des accès.",
    ),
    PermissionSpec(
        "authorisations.read",
        "See prefectoral authorisations.",
        "Voir les autorisations préfectorales.",
    ),
    PermissionSpec(
        "authorisations.write",
        "Enter, change and revoke prefectoral authorisations.",
        "Saisir, modifier et révoquer les autorisations préfectorales.",
    ),
    PermissionSpec(
        "cameras.operate",
        "Commission, suspend, resume, move and retire cameras.",
        "Mettre en service, suspendre, reprendre, déplacer et retirer des caméras.",
    ),
    PermissionSpec(
        "cameras.probe",
        "Connect to a camera to learn what it sends; no picture is shown.",
        "Se connecter à une caméra pour savoir ce qu'elle envoie ; aucune image n'est montrée.",
    ),
    PermissionSpec(
        "cameras.read",
        "See cameras and their state.",
        "Voir les caméras et leur état.",
    ),
    PermissionSpec(
        "cameras.write",
        "Create, import and change cameras.",
        "Créer, importer et modifier des caméras.",
    ),
    PermissionSpec(
        "completeness.read",
        "See how much of the expected footage is stored.",
        "Voir quelle part des images attendues est conservée.",
    ),
    PermissionSpec(
        "destructions.read",
        "Read the register of destroyed footage.",
        "Lire le registre des images détruites.",
    ),
    PermissionSpec(
        "evidence.approve",
        "Approve or refuse evidence requests of others.",
        "Approuver ou refuser les demandes de preuves des autres.",
    ),
    PermissionSpec(
        "evidence.download",
        "Download evidence packages.",
        "Télécharger les dossiers de preuves.",
    ),
    PermissionSpec(
        "evidence.read",
        "See evidence requests and their progress.",
        "Voir les demandes de preuves et leur avancement.",
    ),
    PermissionSpec(
        "evidence.request",
        "Ask for evidence, and withdraw one's own requests.",
        "Demander des preuves, et retirer ses propres demandes.",
    ),
    PermissionSpec(
        "footage.clip",
        "Take a clip of recorded footage.",
        "Extraire une séquence des images enregistrées.",
    ),
    PermissionSpec(
        "footage.play",
        "Watch recorded footage.",
        "Regarder les images enregistrées.",
    ),
    PermissionSpec(
        "footage.snapshot",
        "Take a still picture of recorded footage.",
        "Extraire une image fixe des images enregistrées.",
    ),
    PermissionSpec(
        "footage.timeline",
        "See when footage exists and why it is missing.",
        "Voir quand des images existent et pourquoi il en manque.",
    ),
    PermissionSpec(
        "holds.read",
        "See which footage is under a hold.",
        "Voir quelles images sont sous séquestre.",
    ),
    PermissionSpec(
        "live.watch",
        "Watch cameras live.",
        "Regarder les caméras en direct.",
    ),
    PermissionSpec(
        "registry.read",
        "See communes, zones and sites.",
        "Voir les communes, les zones et les sites.",
    ),
    PermissionSpec(
        "registry.write",
        "Create, change and delete communes, zones and sites.",
        "Créer, modifier et supprimer des communes, des zones et des sites.",
    ),
    PermissionSpec(
        "retention.read",
        "See which footage will be destroyed, and when.",
        "Voir quelles images seront détruites, et quand.",
    ),
    PermissionSpec(
        "sources.probe",
        "Let ingest connect to a source on behalf of the registry.",
        "Faire connecter l'acquisition à une source pour le compte du registre.",
        internal=True,
    ),
    PermissionSpec(
        "streams.read",
        "See the state of reception of cameras.",
        "Voir l'état de réception des caméras.",
    ),
)

_LOOK: Final = (
    "cameras.read",
    "completeness.read",
    "footage.timeline",
    "registry.read",
    "streams.read",
)

ROLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "operator": frozenset({*_LOOK, "live.watch", "footage.play", "footage.snapshot"}),
        "investigator": frozenset(
            {
                *_LOOK,
                "footage.play",
                "footage.snapshot",
                "footage.clip",
                "evidence.request",
                "evidence.read",
                "evidence.download",
                "holds.read",
            }
        ),
        "supervisor": frozenset(
            {
                *_LOOK,
                "live.watch",
                "footage.play",
                "footage.snapshot",
                "footage.clip",
                "cameras.operate",
                "evidence.read",
                "evidence.approve",
                "holds.read",
                "audit.read",
                "access.read",
                "authorisations.read",
                "destructions.read",
                "retention.read",
            }
        ),
        "administrator": frozenset(
            {
                *_LOOK,
                "registry.write",
                "cameras.write",
                "cameras.operate",
                "cameras.probe",
                "authorisations.read",
                "authorisations.write",
                "access.read",
                "destructions.read",
                "holds.read",
                "retention.read",
            }
        ),
        "auditor": frozenset(
            {
                *_LOOK,
                "audit.read",
                "audit.export",
                "access.read",
                "authorisations.read",
                "destructions.read",
                "evidence.read",
                "holds.read",
                "retention.read",
            }
        ),
        "integrator": frozenset(
            {*_LOOK, "live.watch", "footage.clip", "footage.play", "footage.snapshot"}
        ),
    }
)
"""Role -> permissions it carries, in the zones the role is given in."""

SERVICE_ROLE: Final = "service"
SERVICE_PERMISSIONS: Final = frozenset(
    {
        *_LOOK,
        "authorisations.read",
        "destructions.read",
        "evidence.read",
        "holds.read",
        "retention.read",
        "sources.probe",
    }
)
"""What services of the product may ask each other, everywhere; no footage, no change."""


def roles_with(permission: str) -> tuple[str, ...]:
    """Names of the roles that carry a permission, sorted; the services' own role included."""
    roles = [name for name, carried in ROLES.items() if permission in carried]
    if permission in SERVICE_PERMISSIONS:
        roles.append(SERVICE_ROLE)
    return tuple(sorted(roles))
