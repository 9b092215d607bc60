"""The reasons of the registry."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

COMMUNE_NOT_FOUND: Final = ReasonSpec(
    "COMMUNE_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No commune has this INSEE code.",
    "Aucune commune ne porte ce code INSEE.",
    "List the communes, or enter this one first.",
)
COMMUNE_EXISTS: Final = ReasonSpec(
    "COMMUNE_EXISTS",
    StatusCode.ALREADY_EXISTS,
    "A commune with this INSEE code is registered already.",
    "Une commune portant ce code INSEE est déjà enregistrée.",
    "Read or update the one that is there.",
)
COMMUNE_NOT_EMPTY: Final = ReasonSpec(
    "COMMUNE_NOT_EMPTY",
    StatusCode.FAILED_PRECONDITION,
    "The commune still has zones.",
    "La commune comporte encore des zones.",
    "Delete its zones first.",
)
ZONE_NOT_FOUND: Final = ReasonSpec(
    "ZONE_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No zone has this identifier.",
    "Aucune zone ne porte cet identifiant.",
    "List the zones, or enter this one first.",
)
ZONE_EXISTS: Final = ReasonSpec(
    "ZONE_EXISTS",
    StatusCode.ALREADY_EXISTS,
    "A zone with this identifier is registered already.",
    "Une zone portant cet identifiant est déjà enregistrée.",
    "Choose another identifier, or update the one that is there.",
)
ZONE_NOT_EMPTY: Final = ReasonSpec(
    "ZONE_NOT_EMPTY",
    StatusCode.FAILED_PRECONDITION,
    "The zone has sites, cameras or authorisations, or cameras once stood in it.",
    "La zone comporte des sites, des caméras ou des autorisations, ou a comporté des caméras.",
    "Delete its sites; a zone that ever had a camera stays, because footage belongs to it.",
)
SITE_NOT_FOUND: Final = ReasonSpec(
    "SITE_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No site has this identifier.",
    "Aucun site ne porte cet identifiant.",
    "List the sites of the zone, or enter this one first.",
)
SITE_EXISTS: Final = ReasonSpec(
    "SITE_EXISTS",
    StatusCode.ALREADY_EXISTS,
    "A site with this identifier is registered already.",
    "Un site portant cet identifiant est déjà enregistré.",
    "Choose another identifier, or update the one that is there.",
)
SITE_NOT_EMPTY: Final = ReasonSpec(
    "SITE_NOT_EMPTY",
    StatusCode.FAILED_PRECONDITION,
    "Cameras stand at the site.",
    "Des caméras se trouvent sur le site.",
    "Move the cameras to another site first.",
)
SITE_IN_OTHER_ZONE: Final = ReasonSpec(
    "SITE_IN_OTHER_ZONE",
    StatusCode.INVALID_ARGUMENT,
    "The site lies in another zone than the one given.",
    "Le site se trouve dans une autre zone que celle indiquée.",
    "Give a site of that zone, or the zone of that site.",
)
CAMERA_NOT_FOUND: Final = ReasonSpec(
    "CAMERA_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No camera has this identifier.",
    "Aucune caméra ne porte cet identifiant.",
    "List the cameras.",
)
CAMERA_EXISTS: Final = ReasonSpec(
    "CAMERA_EXISTS",
    StatusCode.ALREADY_EXISTS,
    "A camera has or had this identifier; identifiers are never used again.",
    "Une caméra porte ou a porté cet identifiant ; un identifiant n'est jamais réutilisé.",
    "Choose another identifier, or update the one that is there.",
)
CAMERA_RETIRED: Final = ReasonSpec(
    "CAMERA_RETIRED",
    StatusCode.FAILED_PRECONDITION,
    "The camera is retired; what is known of it no longer changes.",
    "La caméra est retirée ; sa fiche ne change plus.",
    "Enter the new camera under a new identifier.",
)
LIFECYCLE_TRANSITION_REFUSED: Final = ReasonSpec(
    "LIFECYCLE_TRANSITION_REFUSED",
    StatusCode.FAILED_PRECONDITION,
    "The camera's state does not allow this step.",
    "L'état de la caméra ne permet pas cette étape.",
    "Read the camera; docs/guide/cameras.md shows which step leads where.",
)
MOVE_INVALID: Final = ReasonSpec(
    "MOVE_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The move goes nowhere, lies in the future, or lies before the camera's present state.",
    "Le déplacement est sans effet, dans le futur, ou antérieur à l'état actuel de la caméra.",
    "Give another place, and a time between the camera's `effective_time` and now.",
)
STREAM_URI_INVALID: Final = ReasonSpec(
    "STREAM_URI_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The address of the stream cannot be used.",
    "L'adresse du flux est inutilisable.",
    "Write it as scheme://host[:port]/path, e.g. rtsp://10.0.0.8:554/stream1.",
)
CREDENTIALS_INVALID: Final = ReasonSpec(
    "CREDENTIALS_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The user name or password for the camera cannot be used, or is given twice.",
    "Le nom d'utilisateur ou le mot de passe de la caméra est inutilisable ou donné deux fois.",
    "Give it once, in `credentials` or in the address; no control character, no colon in a name.",
)
CREDENTIALS_REQUIRED: Final = ReasonSpec(
    "CREDENTIALS_REQUIRED",
    StatusCode.FAILED_PRECONDITION,
    "The stream moves to another host; the credentials kept were given for the old one.",
    "Le flux change d'hôte ; les identifiants conservés valaient pour l'ancien.",
    "Give the credentials for the new host in the same update, or remove them.",
)
FIELD_REQUIRED: Final = ReasonSpec(
    "FIELD_REQUIRED",
    StatusCode.INVALID_ARGUMENT,
    "A field that must have a value is empty.",
    "Un champ obligatoire est vide.",
    "Give the field a value.",
)
FILTER_INVALID: Final = ReasonSpec(
    "FILTER_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The filter does not read as one.",
    "Le filtre n'est pas valide.",
    "See ListCamerasRequest.filter; the message names the position.",
)
ORDER_INVALID: Final = ReasonSpec(
    "ORDER_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The list cannot be ordered that way.",
    "La liste ne peut être triée ainsi.",
    "Name one of the fields of ListCamerasRequest.order_by, with ` desc` for the reverse.",
)
REQUEST_ID_REUSED: Final = ReasonSpec(
    "REQUEST_ID_REUSED",
    StatusCode.INVALID_ARGUMENT,
    "The request_id belongs to another request of the last 24 hours.",
    "Ce request_id appartient à une autre requête des dernières 24 heures.",
    "Make a new UUID for every new request; repeat it only with the very same request.",
)
CSV_INVALID: Final = ReasonSpec(
    "CSV_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The table has mistakes; nothing was changed.",
    "Le tableau comporte des erreurs ; rien n'a été modifié.",
    "Run it again as a dry run, which lists every mistake by row and column; correct all.",
)
CSV_COLUMN_INVALID: Final = ReasonSpec(
    "CSV_COLUMN_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "A value of the table does not have the form its column asks for.",
    "Une valeur du tableau n'a pas la forme demandée par sa colonne.",
    "See docs/guide/cameras.md for the form of each column.",
)
AUTHORISATION_NOT_FOUND: Final = ReasonSpec(
    "AUTHORISATION_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No authorisation has this identifier.",
    "Aucune autorisation ne porte cet identifiant.",
    "List the authorisations.",
)
AUTHORISATION_EXISTS: Final = ReasonSpec(
    "AUTHORISATION_EXISTS",
    StatusCode.ALREADY_EXISTS,
    "This identifier, or this number of this prefecture, is registered already.",
    "Cet identifiant, ou ce numéro de cette préfecture, est déjà enregistré.",
    "Read or update the one that is there.",
)
AUTHORISATION_EXPIRED: Final = ReasonSpec(
    "AUTHORISATION_EXPIRED",
    StatusCode.FAILED_PRECONDITION,
    "The authorisation has ended or was revoked; it is never brought back.",
    "L'autorisation a pris fin ou a été révoquée ; elle n'est jamais rétablie.",
    "Enter the new prefectoral order as a new authorisation.",
)
AUTHORISATION_TOO_LONG: Final = ReasonSpec(
    "AUTHORISATION_TOO_LONG",
    StatusCode.INVALID_ARGUMENT,
    "An authorisation holds for at most five years (CSI L252-4).",
    "Une autorisation vaut cinq ans au plus (CSI L252-4).",
    "Give the end that stands in the order; later years need a new order.",
)
AUTHORISATION_DATES_INVALID: Final = ReasonSpec(
    "AUTHORISATION_DATES_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The dates of the authorisation contradict each other, or its end has passed.",
    "Les dates de l'autorisation se contredisent, ou sa fin est passée.",
    "It is signed before it ends, begins before it ends, and ends after now; revoke it to end it.",
)
AUTHORISATION_SCOPE_INVALID: Final = ReasonSpec(
    "AUTHORISATION_SCOPE_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The authorisation names neither a camera nor a zone, or a camera that is retired.",
    "L'autorisation ne désigne ni caméra ni zone, ou désigne une caméra retirée.",
    "Name the cameras or the zones that the order names.",
)
PROBE_UNAVAILABLE: Final = ReasonSpec(
    "PROBE_UNAVAILABLE",
    StatusCode.UNAVAILABLE,
    "The service that connects to cameras (ingest) does not answer.",
    "Le service qui se connecte aux caméras (ingest) ne répond pas.",
    "See whether ingest is running and ready, then try again.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    COMMUNE_NOT_FOUND,
    COMMUNE_EXISTS,
    COMMUNE_NOT_EMPTY,
    ZONE_NOT_FOUND,
    ZONE_EXISTS,
    ZONE_NOT_EMPTY,
    SITE_NOT_FOUND,
    SITE_EXISTS,
    SITE_NOT_EMPTY,
    SITE_IN_OTHER_ZONE,
    CAMERA_NOT_FOUND,
    CAMERA_EXISTS,
    CAMERA_RETIRED,
    LIFECYCLE_TRANSITION_REFUSED,
    MOVE_INVALID,
    STREAM_URI_INVALID,
    CREDENTIALS_INVALID,
    CREDENTIALS_REQUIRED,
    FIELD_REQUIRED,
    FILTER_INVALID,
    ORDER_INVALID,
    REQUEST_ID_REUSED,
    CSV_INVALID,
    CSV_COLUMN_INVALID,
    AUTHORISATION_NOT_FOUND,
    AUTHORISATION_EXISTS,
    AUTHORISATION_EXPIRED,
    AUTHORISATION_TOO_LONG,
    AUTHORISATION_DATES_INVALID,
    AUTHORISATION_SCOPE_INVALID,
    PROBE_UNAVAILABLE,
)
