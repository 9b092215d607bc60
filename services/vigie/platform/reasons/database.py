"""The reasons of the database and of the data directory."""

from typing import Final

from grpc import StatusCode

from vigie.platform.errors import ReasonSpec

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

REASONS: Final[tuple[ReasonSpec, ...]] = (
    DATABASE_UNAVAILABLE,
    DATA_NEWER_THAN_PROGRAM,
    DATA_DIRECTORY_IN_USE,
    SCHEMA_OUTDATED,
)
