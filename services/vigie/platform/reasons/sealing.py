"""The reasons of sealed secrets and of the key they are sealed with."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

SEALING_KEY_INVALID: Final = ReasonSpec(
    "SEALING_KEY_INVALID",
    StatusCode.FAILED_PRECONDITION,
    "The sealing-key file cannot be used.",
    "Le fichier de la clé de scellement est inutilisable.",
    "Restore the file from the backup of the installation's keys; owner only may read it (0600).",
)
SEALED_SECRET_UNREADABLE: Final = ReasonSpec(
    "SEALED_SECRET_UNREADABLE",
    StatusCode.FAILED_PRECONDITION,
    "A sealed secret cannot be opened with the keys of this installation.",
    "Un secret scellé ne peut être ouvert avec les clés de cette installation.",
    "Give the camera its credentials again, or restore the sealing key they were sealed with.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    SEALING_KEY_INVALID,
    SEALED_SECRET_UNREADABLE,
)
