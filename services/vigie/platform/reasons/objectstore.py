"""The reasons of the object store."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

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

REASONS: Final[tuple[ReasonSpec, ...]] = (
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
)
