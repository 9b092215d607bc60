"""Why a package is refused: the closed list of an offline verifier."""

from typing import Final

REJECTIONS: Final[dict[str, tuple[str, str]]] = {
    "PACKAGE_UNREADABLE": ("the package cannot be read", "le paquet est illisible"),
    "PACKAGE_ENTRY_UNSAFE": (
        "the package holds a name that would leave its folder, or a link",
        "le paquet contient un nom qui sortirait de son dossier, ou un lien",
    ),
    "MANIFEST_MISSING": ("there is no manifest", "il n'y a pas de manifeste"),
    "MANIFEST_INVALID": (
        "the manifest does not follow its schema",
        "le manifeste ne respecte pas son schéma",
    ),
    "MANIFEST_VERSION": (
        "the manifest is of a version this program does not know",
        "le manifeste est d'une version que ce programme ne connaît pas",
    ),
    "SIGNATURE_MISSING": ("there is no signature", "il n'y a pas de signature"),
    "SIGNATURE_MALFORMED": ("the signature cannot be read", "la signature est illisible"),
    "SIGNATURE_INVALID": (
        "the signature does not fit the manifest",
        "la signature ne correspond pas au manifeste",
    ),
    "SIGNER_UNTRUSTED": (
        "the signer is not the one who is trusted",
        "le signataire n'est pas celui qui est reconnu",
    ),
    "FILE_MISSING": (
        "a file named in the manifest is missing",
        "un fichier cité par le manifeste manque",
    ),
    "FILE_UNEXPECTED": (
        "a file is not named in the manifest",
        "un fichier n'est pas cité par le manifeste",
    ),
    "FILE_ALTERED": (
        "a file is not the one that was signed",
        "un fichier n'est pas celui qui a été signé",
    ),
    "FILE_TIME_ALTERED": (
        "the time of a file is not the one of the package",
        "la date d'un fichier n'est pas celle du paquet",
    ),
    "MEDIA_INVALID": (
        "a media file cannot be read as what it claims to be",
        "un fichier vidéo n'est pas ce qu'il prétend être",
    ),
    "MEDIA_INCONSISTENT": (
        "a media file does not hold what the manifest says",
        "un fichier vidéo ne contient pas ce que dit le manifeste",
    ),
    "COMPLETENESS_INCONSISTENT": (
        "the completeness statement does not account for every instant asked for",
        "la déclaration de complétude ne rend pas compte de chaque instant demandé",
    ),
    "CUSTODY_INCONSISTENT": (
        "the chain of custody contradicts itself",
        "la chaîne de possession se contredit",
    ),
}


class RejectedError(Exception):
    """A package that must not be believed.

    Attributes:
        reason: a name of `REJECTIONS`.
        detail: what exactly, and where.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REJECTIONS:
            raise ValueError(f"unknown rejection {reason}")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
