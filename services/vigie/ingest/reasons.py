"""The reasons of ingest: one entry each, stable once published."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

STREAM_NAME_INVALID: Final = ReasonSpec(
    "STREAM_NAME_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The stream or the camera is named in another form than the resource names ask for.",
    "Le flux ou la caméra est nommé autrement que ne le demandent les noms de ressources.",
    "Write cameras/{camera}/stream, or cameras/{camera} where a camera is asked for.",
)
STREAM_NOT_FOUND: Final = ReasonSpec(
    "STREAM_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "Ingest knows no camera of this name.",
    "L'acquisition ne connaît aucune caméra de ce nom.",
    "List the streams; a camera that was just commissioned appears after a moment.",
)
LIVE_ELSEWHERE: Final = ReasonSpec(
    "LIVE_ELSEWHERE",
    StatusCode.UNAVAILABLE,
    "The camera is received by another ingest process; the metadata names it.",
    "La caméra est reçue par un autre processus d'acquisition, nommé dans les métadonnées.",
    "Ask the instance that the metadata names.",
)
PROBE_BUSY: Final = ReasonSpec(
    "PROBE_BUSY",
    StatusCode.RESOURCE_EXHAUSTED,
    "Too many sources are being tried at this moment.",
    "Trop de sources sont en cours d'essai en ce moment.",
    "Try again in a few seconds.",
)
SPOOL_UNUSABLE: Final = ReasonSpec(
    "SPOOL_UNUSABLE",
    StatusCode.FAILED_PRECONDITION,
    "The directory of the spool cannot be used.",
    "Le répertoire de la file d'attente locale est inutilisable.",
    "Look at the path, its owner and its disk; the message says what the system answered.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    STREAM_NAME_INVALID,
    STREAM_NOT_FOUND,
    LIVE_ELSEWHERE,
    PROBE_BUSY,
    SPOOL_UNUSABLE,
)
