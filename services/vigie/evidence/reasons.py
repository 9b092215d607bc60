"""Reasons of the evidence context, as callers see them."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

EVIDENCE_REQUEST_NOT_FOUND: Final = ReasonSpec(
    "EVIDENCE_REQUEST_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "There is no such evidence request.",
    "Cette demande de preuve n'existe pas.",
    "List the requests with ListEvidenceRequests.",
)
EVIDENCE_WINDOW_INVALID: Final = ReasonSpec(
    "EVIDENCE_WINDOW_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The window of an evidence request must lie in the past and not be too long.",
    "La période demandée doit être passée et ne pas être trop longue.",
    "Ask for a shorter window that has ended; split long ones into several requests.",
)
EVIDENCE_FIELD_MISSING: Final = ReasonSpec(
    "EVIDENCE_FIELD_MISSING",
    StatusCode.INVALID_ARGUMENT,
    "Purpose, case reference and legal basis are required for evidence.",
    "Le motif, la référence de la procédure et la base légale sont exigés.",
    "Fill in the field named in the error.",
)
EVIDENCE_CAMERA_UNKNOWN: Final = ReasonSpec(
    "EVIDENCE_CAMERA_UNKNOWN",
    StatusCode.NOT_FOUND,
    "A camera of the request does not exist.",
    "Une caméra de la demande n'existe pas.",
    "List the cameras with CameraService.ListCameras.",
)
EVIDENCE_ZONES_UNKNOWN: Final = ReasonSpec(
    "EVIDENCE_ZONES_UNKNOWN",
    StatusCode.UNAVAILABLE,
    "Recording does not say now in which zones the cameras stood; without that nobody is admitted.",
    "L'enregistrement ne dit pas où se trouvaient les caméras ; personne n'est admis sans cela.",
    "Try again; if it lasts, check the recording service.",
)
EVIDENCE_ZONES_CHANGED: Final = ReasonSpec(
    "EVIDENCE_ZONES_CHANGED",
    StatusCode.FAILED_PRECONDITION,
    "A camera stood in a zone for which nobody was asked when the request was made and approved.",
    "Une caméra se trouvait dans une zone pour laquelle la demande n'a pas été admise.",
    "Make the request again: it is then admitted for the zones in which the cameras stood.",
)
EVIDENCE_SELF_APPROVAL: Final = ReasonSpec(
    "EVIDENCE_SELF_APPROVAL",
    StatusCode.PERMISSION_DENIED,
    "A request is decided by another person than the one who made it.",
    "Une demande est décidée par une autre personne que son auteur.",
    "Ask another person who holds evidence.approve.",
)
EVIDENCE_NOT_REQUESTER: Final = ReasonSpec(
    "EVIDENCE_NOT_REQUESTER",
    StatusCode.PERMISSION_DENIED,
    "Only the person who made a request can withdraw it.",
    "Seul l'auteur d'une demande peut la retirer.",
    "Ask the approving authority to refuse it instead.",
)
EVIDENCE_STATE_WRONG: Final = ReasonSpec(
    "EVIDENCE_STATE_WRONG",
    StatusCode.FAILED_PRECONDITION,
    "The request is not in a state that allows this.",
    "L'état de la demande ne le permet pas.",
    "Read the request again; its state says what can be done with it.",
)
EVIDENCE_PACKAGE_CHANGED: Final = ReasonSpec(
    "EVIDENCE_PACKAGE_CHANGED",
    StatusCode.FAILED_PRECONDITION,
    "The package is not the one the download began with.",
    "Le paquet n'est pas celui dont le téléchargement a commencé.",
    "Download it again from the beginning.",
)
EVIDENCE_OFFSET_INVALID: Final = ReasonSpec(
    "EVIDENCE_OFFSET_INVALID",
    StatusCode.OUT_OF_RANGE,
    "The offset lies behind the end of the package.",
    "La position demandée est au-delà de la fin du paquet.",
    "Resume at the number of bytes already received.",
)
EVIDENCE_SOURCE_ALTERED: Final = ReasonSpec(
    "EVIDENCE_SOURCE_ALTERED",
    StatusCode.DATA_LOSS,
    "A stored segment is not the one that was recorded; the package was not made.",
    "Un segment stocké n'est pas celui qui a été enregistré ; le paquet n'a pas été établi.",
    "Run `vigie fsck --deep`; keep the object for an expert.",
)
EVIDENCE_SOURCE_MISSING: Final = ReasonSpec(
    "EVIDENCE_SOURCE_MISSING",
    StatusCode.DATA_LOSS,
    "A segment of the timeline is not in the store; the package was not made.",
    "Un segment de la chronologie manque dans le stockage ; le paquet n'a pas été établi.",
    "Run `vigie fsck`; the request can be made again once the index is mended.",
)
EVIDENCE_PENDING_FOOTAGE: Final = ReasonSpec(
    "EVIDENCE_PENDING_FOOTAGE",
    StatusCode.UNAVAILABLE,
    "Footage of the window was received but is not in the store yet.",
    "Des images de la période sont reçues mais pas encore stockées.",
    "Nothing: the package is made as soon as the footage is stored.",
)
EVIDENCE_PACKAGE_REJECTED: Final = ReasonSpec(
    "EVIDENCE_PACKAGE_REJECTED",
    StatusCode.DATA_LOSS,
    "The finished package did not pass its own verification and was not released.",
    "Le paquet achevé n'a pas passé sa propre vérification et n'a pas été remis.",
    "See the detail of the failure; make the request again.",
)
EVIDENCE_HOLD_TIMEOUT: Final = ReasonSpec(
    "EVIDENCE_HOLD_TIMEOUT",
    StatusCode.UNAVAILABLE,
    "The hold could not be confirmed by the store in time.",
    "La conservation n'a pas pu être confirmée à temps par le stockage.",
    "Check the store and the recording service, then make the request again.",
)
REQUEST_ID_REUSED: Final = ReasonSpec(
    "EVIDENCE_REQUEST_ID_REUSED",
    StatusCode.ALREADY_EXISTS,
    "This request_id was used for another request.",
    "Ce request_id a servi pour une autre demande.",
    "Use a new UUID for every new request.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    EVIDENCE_REQUEST_NOT_FOUND,
    EVIDENCE_WINDOW_INVALID,
    EVIDENCE_FIELD_MISSING,
    EVIDENCE_CAMERA_UNKNOWN,
    EVIDENCE_ZONES_UNKNOWN,
    EVIDENCE_ZONES_CHANGED,
    EVIDENCE_SELF_APPROVAL,
    EVIDENCE_NOT_REQUESTER,
    EVIDENCE_STATE_WRONG,
    EVIDENCE_PACKAGE_CHANGED,
    EVIDENCE_OFFSET_INVALID,
    EVIDENCE_SOURCE_ALTERED,
    EVIDENCE_SOURCE_MISSING,
    EVIDENCE_PENDING_FOOTAGE,
    EVIDENCE_PACKAGE_REJECTED,
    EVIDENCE_HOLD_TIMEOUT,
    REQUEST_ID_REUSED,
)
