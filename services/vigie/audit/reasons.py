"""The reasons of the audit context."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

ACCESS_NOT_FOUND: Final = ReasonSpec(
    "ACCESS_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "The access log holds no such record.",
    "Le journal des accès ne contient pas cet enregistrement.",
    "Check the identifier; a record may also have been destroyed at the end of its retention.",
)
ACCESS_RECORD_ALTERED: Final = ReasonSpec(
    "ACCESS_RECORD_ALTERED",
    StatusCode.DATA_LOSS,
    "A record of the searchable table no longer has the digest it was stored with.",
    "Un enregistrement de la table de recherche n'a plus l'empreinte d'origine.",
    "Somebody or something altered the database: keep it for inspection, rebuild from the log.",
)
ACCESS_INDEX_BEHIND: Final = ReasonSpec(
    "ACCESS_INDEX_BEHIND",
    StatusCode.UNAVAILABLE,
    "The searchable table is too far behind the log for a complete export.",
    "La table de recherche est trop en retard sur le journal pour un export complet.",
    "Try again later; if it stays so, look at the consumer audit-index (lag, quarantine).",
)
REASONS: Final = (ACCESS_NOT_FOUND, ACCESS_RECORD_ALTERED, ACCESS_INDEX_BEHIND)
