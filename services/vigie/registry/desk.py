"""What the services of the registry share."""

from dataclasses import dataclass

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.registry.camerabook import CameraBook
from vigie.registry.journal import CameraJournal
from vigie.registry.repeats import Repeats
from vigie.registry.tokens import TokenMint


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts every service of the registry works with.

    Attributes:
        database: where everything is.
        journal: writes changes of cameras.
        book: the rules of cameras.
        repeats: runs a change once for each request_id.
        mint: page and resume tokens.
        wall_clock: tells the time of changes.
    """

    database: Database
    journal: CameraJournal
    book: CameraBook
    repeats: Repeats
    mint: TokenMint
    wall_clock: WallClock
