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
    EVENT_LOG_UNAVAILABLE,
    TOPIC_UNKNOWN,
    TOPIC_MISMATCH,
    QUARANTINED_EVENT_NOT_FOUND,
    STORE_UNAVAILABLE,
    STORE_CHECKSUM_MISMATCH,
    OBJECT_EXISTS,
    OBJECT_NOT_FOUND,
    OBJECT_HELD,
    OBJECT_RETAINED,
    RETENTION_SHORTENED,
    RANGE_INVALID,
    KEY_INVALID,
    STOPPING,
)

# The gRPC host and the configuration add their tuple here.

REASONS: Final[tuple[ReasonSpec, ...]] = STORAGE_REASONS
