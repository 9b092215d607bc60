"""The reasons of the event log."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

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

REASONS: Final[tuple[ReasonSpec, ...]] = (
    EVENT_LOG_UNAVAILABLE,
    TOPIC_UNKNOWN,
    TOPIC_MISMATCH,
    QUARANTINED_EVENT_NOT_FOUND,
    POSITION_REFUSED,
    POSITION_BEYOND_END,
    EVENT_TOO_LARGE,
    EVENT_LOG_OF_ANOTHER,
)
