"""The reasons of calls: who makes them, what they ask for, what answers them."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

REQUEST_INVALID: Final = ReasonSpec(
    "REQUEST_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "A field of the request does not have an allowed value.",
    "Un champ de la requête n'a pas une valeur permise.",
    "Correct the fields that the details (google.rpc.BadRequest) name.",
)
UNAUTHENTICATED: Final = ReasonSpec(
    "UNAUTHENTICATED",
    StatusCode.UNAUTHENTICATED,
    "The call carries no token.",
    "L'appel ne porte pas de jeton.",
    "Send `authorization: Bearer TOKEN` with the call.",
)
TOKEN_INVALID: Final = ReasonSpec(
    "TOKEN_INVALID",
    StatusCode.UNAUTHENTICATED,
    "The token was not issued for this installation or was altered.",
    "Le jeton n'a pas été émis pour cette installation ou a été altéré.",
    "Obtain a new token from the issuer this installation trusts.",
)
TOKEN_EXPIRED: Final = ReasonSpec(
    "TOKEN_EXPIRED",
    StatusCode.UNAUTHENTICATED,
    "The token has ended.",
    "Le jeton a expiré.",
    "Obtain a new token.",
)
PERSON_UNKNOWN: Final = ReasonSpec(
    "PERSON_UNKNOWN",
    StatusCode.PERMISSION_DENIED,
    "The token is valid, but its subject is not designated here.",
    "Le jeton est valide, mais son titulaire n'est pas désigné ici.",
    "Ask the administrator to designate the person.",
)
PERSON_SUSPENDED: Final = ReasonSpec(
    "PERSON_SUSPENDED",
    StatusCode.PERMISSION_DENIED,
    "The person is suspended.",
    "La personne est suspendue.",
    "Ask the supervisor why, and when the suspension ends.",
)
PERSON_NOT_DESIGNATED: Final = ReasonSpec(
    "PERSON_NOT_DESIGNATED",
    StatusCode.PERMISSION_DENIED,
    "The person's designation has not begun or has ended.",
    "La désignation de la personne n'a pas commencé ou a pris fin.",
    "Ask the administrator to renew the designation.",
)
PERMISSION_DENIED: Final = ReasonSpec(
    "PERMISSION_DENIED",
    StatusCode.PERMISSION_DENIED,
    "The caller does not hold the permission where it is needed.",
    "L'appelant ne détient pas la permission là où elle est nécessaire.",
    "Ask the administrator for the permission that the details name.",
)
RIGHTS_CHANGED: Final = ReasonSpec(
    "RIGHTS_CHANGED",
    StatusCode.PERMISSION_DENIED,
    "The caller's rights changed while the stream was open; it no longer may be.",
    "Les droits de l'appelant ont changé pendant le flux, qui n'est plus permis.",
    "Open the stream again for what the rights still cover.",
)
METHOD_INTERNAL: Final = ReasonSpec(
    "METHOD_INTERNAL",
    StatusCode.PERMISSION_DENIED,
    "Only services of the product itself may call this method.",
    "Seuls les services du produit peuvent appeler cette méthode.",
    "Use the public methods.",
)
ACCESS_NOT_RECORDED: Final = ReasonSpec(
    "ACCESS_NOT_RECORDED",
    StatusCode.UNAVAILABLE,
    "The access could not be put on record and was therefore refused.",
    "L'accès n'a pas pu être consigné et a donc été refusé.",
    "Mend the event log (disk, brokers), then try again.",
)
NOT_ADMITTED: Final = ReasonSpec(
    "NOT_ADMITTED",
    StatusCode.INTERNAL,
    "A method tried to answer without having its access recorded; nothing was sent.",
    "Une méthode a voulu répondre sans accès consigné ; rien n'a été envoyé.",
    "This is a fault of the program: report it with the request identifier.",
)
INTERNAL_ERROR: Final = ReasonSpec(
    "INTERNAL_ERROR",
    StatusCode.INTERNAL,
    "An unexpected failure; its trace is in the log.",
    "Une défaillance inattendue ; sa trace est dans le journal.",
    "Report it with the request identifier.",
)
DEADLINE_EXCEEDED: Final = ReasonSpec(
    "DEADLINE_EXCEEDED",
    StatusCode.DEADLINE_EXCEEDED,
    "The work took longer than it was given.",
    "Le travail a dépassé le temps accordé.",
    "Ask for less (a smaller window, fewer cameras) or give a later deadline.",
)
CALL_CANCELLED: Final = ReasonSpec(
    "CALL_CANCELLED",
    StatusCode.CANCELLED,
    "The caller went away.",
    "L'appelant s'est retiré.",
    "Nothing to do.",
)
ATTEMPTS_SUPPRESSED: Final = ReasonSpec(
    "ATTEMPTS_SUPPRESSED",
    StatusCode.UNAUTHENTICATED,
    "Attempts without a valid token from one peer, counted instead of recorded one by one.",
    "Tentatives sans jeton valide d'un même pair, comptées au lieu d'être consignées une à une.",
    "Look at the peer: a wrong configuration, or somebody who tries.",
)
PAGE_TOKEN_INVALID: Final = ReasonSpec(
    "PAGE_TOKEN_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The page token was not given out for this query.",
    "Le jeton de page n'a pas été émis pour cette requête.",
    "Send the token of the last answer with unchanged criteria, or none to begin again.",
)
RESUME_TOKEN_INVALID: Final = ReasonSpec(
    "RESUME_TOKEN_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The resume token was not given out for this stream.",
    "Le jeton de reprise n'a pas été émis pour ce flux.",
    "Send the token last received with unchanged criteria, or none to begin again.",
)
ETAG_MISMATCH: Final = ReasonSpec(
    "ETAG_MISMATCH",
    StatusCode.ABORTED,
    "The resource has changed since it was read.",
    "La ressource a changé depuis sa lecture.",
    "Read it again, apply the change to what is there now, and send the new etag.",
)
FIELD_MASK_INVALID: Final = ReasonSpec(
    "FIELD_MASK_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The update mask names a field that does not exist or cannot be changed.",
    "Le masque de mise à jour nomme un champ inexistant ou non modifiable.",
    "Name only fields that can be changed.",
)
PURPOSE_REQUIRED: Final = ReasonSpec(
    "PURPOSE_REQUIRED",
    StatusCode.INVALID_ARGUMENT,
    "Footage is shown only for a stated purpose of at least three characters.",
    "Les images ne sont montrées que pour un motif énoncé d'au moins trois caractères.",
    "State the purpose (purpose.text), and the case reference where there is one.",
)
SERVICE_NOT_PERMITTED: Final = ReasonSpec(
    "SERVICE_NOT_PERMITTED",
    StatusCode.PERMISSION_DENIED,
    "The contract does not name this service of the product among the callers of the method.",
    "Le contrat ne nomme pas ce service du produit parmi les appelants de la méthode.",
    "Look at the certificate or credential of the calling service: it is not what it should be.",
)
SERVICE_UNREACHABLE: Final = ReasonSpec(
    "SERVICE_UNREACHABLE",
    StatusCode.UNAVAILABLE,
    "Another service of the product that is needed for this does not answer.",
    "Un autre service du produit, nécessaire ici, ne répond pas.",
    "Look whether that service runs and whether `[services]` names its addresses; try again.",
)
SERVICE_STARTING: Final = ReasonSpec(
    "SERVICE_STARTING",
    StatusCode.UNAVAILABLE,
    "The service has started and waits for what it needs.",
    "Le service a démarré et attend ce dont il a besoin.",
    "Read `/readyz` of the process: it says what it waits for, and since when.",
)
TOO_MANY_STRANGERS: Final = ReasonSpec(
    "TOO_MANY_STRANGERS",
    StatusCode.RESOURCE_EXHAUSTED,
    "Too many calls of callers who are not known are open.",
    "Trop d'appels d'appelants inconnus sont ouverts.",
    "Try again later; probes may ask `/readyz` of the process instead.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    REQUEST_INVALID,
    UNAUTHENTICATED,
    TOKEN_INVALID,
    TOKEN_EXPIRED,
    PERSON_UNKNOWN,
    PERSON_SUSPENDED,
    PERSON_NOT_DESIGNATED,
    PERMISSION_DENIED,
    RIGHTS_CHANGED,
    METHOD_INTERNAL,
    ACCESS_NOT_RECORDED,
    NOT_ADMITTED,
    INTERNAL_ERROR,
    DEADLINE_EXCEEDED,
    CALL_CANCELLED,
    ATTEMPTS_SUPPRESSED,
    PAGE_TOKEN_INVALID,
    RESUME_TOKEN_INVALID,
    ETAG_MISMATCH,
    FIELD_MASK_INVALID,
    PURPOSE_REQUIRED,
    SERVICE_NOT_PERMITTED,
    SERVICE_UNREACHABLE,
    SERVICE_STARTING,
    TOO_MANY_STRANGERS,
)
