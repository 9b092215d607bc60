"""The reasons of the platform: storage, event log, database (and the gRPC host, below).

One entry each; the same name stands in ErrorInfo, in metric labels and in the runbooks.
"""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

# --- Database ---------------------------------------------------------------------------------

DATABASE_UNAVAILABLE: Final = ReasonSpec(
    "DATABASE_UNAVAILABLE",
    StatusCode.UNAVAILABLE,
    "The database cannot be read or written now.",
    "La base de données ne peut être ni lue ni écrite pour le moment.",
    "Look at the disk (full, read-only, failing) or at the database server, then try again.",
)
DATA_NEWER_THAN_PROGRAM: Final = ReasonSpec(
    "DATA_NEWER_THAN_PROGRAM",
    StatusCode.FAILED_PRECONDITION,
    "The data were written by a newer version of the program.",
    "Les données ont été écrites par une version plus récente du programme.",
    "Start the newer version again, or restore the data from before the upgrade.",
)
DATA_DIRECTORY_IN_USE: Final = ReasonSpec(
    "DATA_DIRECTORY_IN_USE",
    StatusCode.FAILED_PRECONDITION,
    "Another process works on this data directory.",
    "Un autre processus travaille sur ce répertoire de données.",
    "Stop the other process, or give this one a data directory of its own.",
)
SCHEMA_OUTDATED: Final = ReasonSpec(
    "SCHEMA_OUTDATED",
    StatusCode.FAILED_PRECONDITION,
    "The tables are of an older version than the program.",
    "Les tables sont d'une version plus ancienne que le programme.",
    "Run `vigie migrate` with the rights of the database's administrator.",
)

# --- Event log --------------------------------------------------------------------------------

EVENT_LOG_UNAVAILABLE: Final = ReasonSpec(
    "EVENT_LOG_UNAVAILABLE",
    StatusCode.UNAVAILABLE,
    "The event log cannot make events durable now.",
    "Le journal d'événements ne peut pas enregistrer durablement pour le moment.",
    "Look at the disk or at the brokers of the log, then try again.",
)
TOPIC_UNKNOWN: Final = ReasonSpec(
    "TOPIC_UNKNOWN",
    StatusCode.FAILED_PRECONDITION,
    "The topic was never declared.",
    "Ce sujet n'a jamais été déclaré.",
    "Declare the topic (or apply the list of topics) before using it.",
)
TOPIC_MISMATCH: Final = ReasonSpec(
    "TOPIC_MISMATCH",
    StatusCode.FAILED_PRECONDITION,
    "The topic exists with other properties than those declared.",
    "Le sujet existe avec d'autres propriétés que celles déclarées.",
    "Compare the declaration with the topic; change one of them on purpose.",
)
QUARANTINED_EVENT_NOT_FOUND: Final = ReasonSpec(
    "QUARANTINED_EVENT_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No event stands in quarantine under this number.",
    "Aucun événement en quarantaine ne porte ce numéro.",
    "List the quarantine; the event may have been replayed or discarded already.",
)
POSITION_REFUSED: Final = ReasonSpec(
    "POSITION_REFUSED",
    StatusCode.ABORTED,
    "Another member of the consumer group has taken over what this one was processing.",
    "Un autre membre du groupe de lecteurs a repris ce que celui-ci traitait.",
    "Nothing: this member's work is undone and goes on from where the other one stands.",
)
POSITION_BEYOND_END: Final = ReasonSpec(
    "POSITION_BEYOND_END",
    StatusCode.FAILED_PRECONDITION,
    "The consumer has read further than the topic reaches: the topic was made anew or lost events.",
    "Le lecteur est au-delà de la fin du sujet, qui a été recréé ou a perdu des événements.",
    "Find out what happened to the brokers; where the log is lost, stop all services and run"
    " `vigie restore log` (guide to operations).",
)
EVENT_TOO_LARGE: Final = ReasonSpec(
    "EVENT_TOO_LARGE",
    StatusCode.INVALID_ARGUMENT,
    "The event is larger than the log takes.",
    "L'événement dépasse la taille admise par le journal.",
    "Say it in several events, or raise the size that the log and its topics take.",
)
EVENT_LOG_OF_ANOTHER: Final = ReasonSpec(
    "EVENT_LOG_OF_ANOTHER",
    StatusCode.FAILED_PRECONDITION,
    "Another installation uses the topics of this prefix; both would act on each other's events.",
    "Une autre installation utilise les sujets de ce préfixe ; chacune traiterait les événements"
    " de l'autre.",
    "Give each installation a `kafka.topic_prefix` of its own; or correct `s3.installation`, also"
    " in the file that `vigie topics apply` is given.",
)

# --- Object store -----------------------------------------------------------------------------

STORE_UNAVAILABLE: Final = ReasonSpec(
    "STORE_UNAVAILABLE",
    StatusCode.UNAVAILABLE,
    "The object store cannot be read or written now.",
    "Le magasin d'objets ne peut être ni lu ni écrit pour le moment.",
    "Look at the disk (full, read-only, failing) or at the store's server, then try again.",
)
STORE_CHECKSUM_MISMATCH: Final = ReasonSpec(
    "STORE_CHECKSUM_MISMATCH",
    StatusCode.DATA_LOSS,
    "What was to be stored does not have the digest given for it.",
    "Le contenu à stocker n'a pas l'empreinte annoncée.",
    "The source was altered or is being read wrongly: check the disk it comes from.",
)
OBJECT_EXISTS: Final = ReasonSpec(
    "OBJECT_EXISTS",
    StatusCode.ALREADY_EXISTS,
    "Another object stands under this key; objects are never overwritten.",
    "Un autre objet porte déjà cette clé ; les objets ne sont jamais réécrits.",
    "Two writers use one key: find out which; the stored object stays as it is.",
)
OBJECT_NOT_FOUND: Final = ReasonSpec(
    "OBJECT_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "No object stands under this key.",
    "Aucun objet ne porte cette clé.",
    "Run `vigie fsck`: the index may name an object the store does not have.",
)
OBJECT_HELD: Final = ReasonSpec(
    "OBJECT_HELD",
    StatusCode.FAILED_PRECONDITION,
    "The object is under a hold and cannot be deleted.",
    "L'objet est sous séquestre et ne peut être supprimé.",
    "Release every hold on it first.",
)
OBJECT_RETAINED: Final = ReasonSpec(
    "OBJECT_RETAINED",
    StatusCode.FAILED_PRECONDITION,
    "The object's retention date is not reached.",
    "La date de conservation de l'objet n'est pas atteinte.",
    "Wait until that date.",
)
RETENTION_SHORTENED: Final = ReasonSpec(
    "RETENTION_SHORTENED",
    StatusCode.FAILED_PRECONDITION,
    "A retention date may be moved later, never earlier.",
    "Une date de conservation peut être reculée, jamais avancée.",
    "Give a date not before the one that stands.",
)
RANGE_INVALID: Final = ReasonSpec(
    "RANGE_INVALID",
    StatusCode.OUT_OF_RANGE,
    "The range asked for does not lie within the object.",
    "L'intervalle demandé n'est pas contenu dans l'objet.",
    "Ask for an offset within the size of the object.",
)
KEY_INVALID: Final = ReasonSpec(
    "KEY_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "This is not a valid object key.",
    "Ce n'est pas une clé d'objet valide.",
    "Use 1 to 1024 bytes, parts joined by '/', no empty, '.' or '..' part, no control character.",
)

STORE_REFUSED: Final = ReasonSpec(
    "STORE_REFUSED",
    StatusCode.UNAVAILABLE,
    "The object store does not accept the credentials, or they lack a permission.",
    "Le magasin d'objets refuse les identifiants, ou il leur manque une permission.",
    "Compare the key files with the store's; give the role the policy of its service (infra/s3).",
)
STORE_CLOCK_SKEWED: Final = ReasonSpec(
    "STORE_CLOCK_SKEWED",
    StatusCode.UNAVAILABLE,
    "The clocks of this machine and of the object store differ too much; it refuses all requests.",
    "Les horloges de cette machine et du magasin d'objets diffèrent trop ; il refuse tout.",
    "Set the clock that is wrong (NTP); the program goes on by itself.",
)
STORE_BUCKET_MISSING: Final = ReasonSpec(
    "STORE_BUCKET_MISSING",
    StatusCode.UNAVAILABLE,
    "The bucket is not there, or is not the one this installation has used.",
    "Le compartiment est absent, ou n'est pas celui de cette installation.",
    "Look for the disk or bucket that is missing; for a new installation: `vigie store init`.",
)
STORE_UNSUITABLE: Final = ReasonSpec(
    "STORE_UNSUITABLE",
    StatusCode.FAILED_PRECONDITION,
    "The bucket or the store lacks what footage needs.",
    "Le compartiment ou le magasin n'offre pas ce que les images exigent.",
    "`vigie store check` shows what; `vigie store init` makes a bucket that suits. What the store"
    " cannot do may be accepted on purpose: `s3.accept_without`.",
)
STORE_OF_ANOTHER: Final = ReasonSpec(
    "STORE_OF_ANOTHER",
    StatusCode.FAILED_PRECONDITION,
    "Another installation keeps its footage here; retention would destroy it.",
    "Une autre installation conserve ses images ici ; la rétention les détruirait.",
    "Give each installation a bucket or a prefix of its own; or correct `s3.installation`.",
)

# --- Every process ----------------------------------------------------------------------------

STOPPING: Final = ReasonSpec(
    "STOPPING",
    StatusCode.UNAVAILABLE,
    "This process is stopping.",
    "Ce processus est en cours d'arrêt.",
    "Try again; another process, or this one once restarted, will answer.",
)

STORAGE_REASONS: Final[tuple[ReasonSpec, ...]] = (
    DATABASE_UNAVAILABLE,
    DATA_NEWER_THAN_PROGRAM,
    DATA_DIRECTORY_IN_USE,
    SCHEMA_OUTDATED,
    EVENT_LOG_UNAVAILABLE,
    TOPIC_UNKNOWN,
    TOPIC_MISMATCH,
    QUARANTINED_EVENT_NOT_FOUND,
    POSITION_REFUSED,
    POSITION_BEYOND_END,
    EVENT_TOO_LARGE,
    EVENT_LOG_OF_ANOTHER,
    STORE_UNAVAILABLE,
    STORE_CHECKSUM_MISMATCH,
    OBJECT_EXISTS,
    OBJECT_NOT_FOUND,
    OBJECT_HELD,
    OBJECT_RETAINED,
    RETENTION_SHORTENED,
    RANGE_INVALID,
    KEY_INVALID,
    STORE_REFUSED,
    STORE_CLOCK_SKEWED,
    STORE_BUCKET_MISSING,
    STORE_UNSUITABLE,
    STORE_OF_ANOTHER,
    STOPPING,
)

# --- gRPC host --------------------------------------------------------------------------------

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
CERTIFICATE_EXPIRED: Final = ReasonSpec(
    "CERTIFICATE_EXPIRED",
    StatusCode.UNAVAILABLE,
    "A certificate of this process has expired: new connections to it and by it are refused.",
    "Un certificat de ce processus a expiré : les nouvelles connexions sont refusées.",
    "Put a new certificate and its key in the place of the old ones; no restart is needed.",
)

HOST_REASONS: Final[tuple[ReasonSpec, ...]] = (
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
    PURPOSE_REQUIRED,
    FIELD_MASK_INVALID,
    LISTEN_FAILED,
    CONFIG_INVALID,
    SERVICE_NOT_PERMITTED,
    SERVICE_UNREACHABLE,
    SERVICE_STARTING,
    CERTIFICATE_EXPIRED,
)

REASONS: Final[tuple[ReasonSpec, ...]] = STORAGE_REASONS + HOST_REASONS
