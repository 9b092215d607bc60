"""The reasons of a process: its configuration, its address, its certificate, its end."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

STOPPING: Final = ReasonSpec(
    "STOPPING",
    StatusCode.UNAVAILABLE,
    "This process is stopping.",
    "Ce processus est en cours d'arrêt.",
    "Try again; another process, or this one once restarted, will answer.",
)
LISTEN_FAILED: Final = ReasonSpec(
    "LISTEN_FAILED",
    StatusCode.FAILED_PRECONDITION,
    "The address cannot be listened on.",
    "Impossible d'écouter à cette adresse.",
    "Choose a free port, or stop the program that has it.",
)
CONFIG_INVALID: Final = ReasonSpec(
    "CONFIG_INVALID",
    StatusCode.FAILED_PRECONDITION,
    "The configuration is not valid.",
    "La configuration n'est pas valide.",
    "Correct what the message names; `vigie config reference` describes every key.",
)
CERTIFICATE_EXPIRED: Final = ReasonSpec(
    "CERTIFICATE_EXPIRED",
    StatusCode.UNAVAILABLE,
    "A certificate of this process has expired: new connections to it and by it are refused.",
    "Un certificat de ce processus a expiré : les nouvelles connexions sont refusées.",
    "Put a new certificate and its key in the place of the old ones; no restart is needed.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    STOPPING,
    LISTEN_FAILED,
    CONFIG_INVALID,
    CERTIFICATE_EXPIRED,
)
