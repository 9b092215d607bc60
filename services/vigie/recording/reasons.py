"""The reasons of recording: one entry each, stable once published."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

CAMERA_NAME_INVALID: Final = ReasonSpec(
    "CAMERA_NAME_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "A camera or a zone is named in another form than the resource names ask for.",
    "Une caméra ou une zone est nommée autrement que ne le demandent les noms de ressources.",
    "Write cameras/{camera}, for instance cameras/cam-lagarenne-01 (zones/{zone}).",
)
CAMERA_NOT_FOUND: Final = ReasonSpec(
    "CAMERA_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "Recording knows no camera of this name.",
    "L'enregistrement ne connaît aucune caméra de ce nom.",
    "List the cameras; a camera that was just created appears after a moment.",
)
TOO_MANY_CAMERAS: Final = ReasonSpec(
    "TOO_MANY_CAMERAS",
    StatusCode.INVALID_ARGUMENT,
    "The request names more cameras than one call may, or one of them twice.",
    "La requête nomme plus de caméras qu'un appel n'en admet, ou deux fois la même.",
    "Ask in several calls.",
)
WINDOW_REVERSED: Final = ReasonSpec(
    "WINDOW_REVERSED",
    StatusCode.INVALID_ARGUMENT,
    "The window ends before it begins, is empty, or lacks one of its ends.",
    "La fenêtre finit avant de commencer, est vide, ou il lui manque une borne.",
    "Give start_time before end_time.",
)
WINDOW_TOO_LONG: Final = ReasonSpec(
    "WINDOW_TOO_LONG",
    StatusCode.INVALID_ARGUMENT,
    "The window is longer than the method allows.",
    "La fenêtre est plus longue que la méthode ne le permet.",
    "Ask for parts of it.",
)
WINDOW_IN_FUTURE: Final = ReasonSpec(
    "WINDOW_IN_FUTURE",
    StatusCode.INVALID_ARGUMENT,
    "The window begins after now.",
    "La fenêtre commence après l'instant présent.",
    "Check the time zone: times are UTC.",
)
RESOLUTION_INVALID: Final = ReasonSpec(
    "RESOLUTION_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "The resolution is negative or longer than the window.",
    "La résolution est négative ou plus longue que la fenêtre.",
    "Leave it out for the exact timeline.",
)
NO_FOOTAGE: Final = ReasonSpec(
    "NO_FOOTAGE",
    StatusCode.NOT_FOUND,
    "There is no footage at that time; the metadata names the cause of the gap.",
    "Il n'y a pas d'images à ce moment ; les métadonnées donnent la cause du manque.",
    "Read the timeline for what is stored.",
)
FOOTAGE_DAMAGED: Final = ReasonSpec(
    "FOOTAGE_DAMAGED",
    StatusCode.DATA_LOSS,
    "A stored object is missing or is not what was recorded; it is not shown.",
    "Un objet stocké manque ou n'est pas ce qui fut enregistré ; il n'est pas montré.",
    "Run `vigie fsck --deep`: it names every such object and what to do.",
)
HOLD_NAME_INVALID: Final = ReasonSpec(
    "HOLD_NAME_INVALID",
    StatusCode.INVALID_ARGUMENT,
    "A hold is named in another form than the resource names ask for.",
    "Un gel est nommé autrement que ne le demandent les noms de ressources.",
    "Write holds/{hold}.",
)
HOLD_NOT_FOUND: Final = ReasonSpec(
    "HOLD_NOT_FOUND",
    StatusCode.NOT_FOUND,
    "Recording knows no hold of this name.",
    "L'enregistrement ne connaît aucun gel de ce nom.",
    "A hold that was just placed is known after a moment: ask with a wait.",
)

REASONS: Final[tuple[ReasonSpec, ...]] = (
    CAMERA_NAME_INVALID,
    CAMERA_NOT_FOUND,
    TOO_MANY_CAMERAS,
    WINDOW_REVERSED,
    WINDOW_TOO_LONG,
    WINDOW_IN_FUTURE,
    RESOLUTION_INVALID,
    NO_FOOTAGE,
    FOOTAGE_DAMAGED,
    HOLD_NAME_INVALID,
    HOLD_NOT_FOUND,
)
