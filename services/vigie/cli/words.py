"""Words of the contracts as people read them, in French where they read French."""

from typing import Any, Final

from vigie.cli.language import tr
from vigie.cli.output import enum_word

_FRENCH: Final = {
    "planned": "prévue",
    "in service": "en service",
    "suspended": "suspendue",
    "retired": "retirée",
    "not authorised": "non autorisée",
    "authorised": "autorisée",
    "expiring": "expire bientôt",
    "scheduled": "à venir",
    "in force": "en vigueur",
    "expired": "expirée",
    "revoked": "abrogée",
    "connecting": "connexion",
    "recording": "enregistre",
    "waiting": "attend",
    "stopped": "arrêtée",
    "active": "active",
    "not yet": "pas encore",
    "ended": "terminée",
    "allowed": "permis",
    "refused": "refusé",
    "opened": "ouverture",
    "closed": "clôture",
    "pending": "en attente",
    "applied": "appliqué",
    "released": "levé",
    "requested": "demandée",
    "verifying": "en vérification",
    "approved": "approuvée",
    "building": "en fabrication",
    "ready": "prête",
    "cancelled": "retirée",
    "failed": "échouée",
    "retention": "durée de conservation",
    "order": "décision",
    "none": "aucune",
    "consultation": "consultation",
    "modification": "modification",
    "communication": "communication",
    "export": "export",
    "erasure": "effacement",
}
"""Adjectives agree with what the column is about: cameras, requests and persons are feminine,
accesses and holds masculine."""


def enum_text(enumeration: Any, value: int, prefix: str) -> str:
    """A value of an enumeration in the reader's language.

    A number this version of the program does not know is told as it is.
    """
    if value not in enumeration.values():
        return str(value)
    english = enum_word(enumeration.Name(value), prefix)
    return "-" if english == "unspecified" else tr(english, _FRENCH.get(english, english))
