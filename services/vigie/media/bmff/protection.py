"""The seam for encrypted recording (ISO/IEC 23001-7; ONVIF annex, "Encryption").

Nothing here encrypts. A writer that is given a `Protection` lets it contribute the boxes that
Common Encryption adds; the bytes of the samples are encrypted by whoever owns the keys.
"""

from typing import Protocol

from vigie.media.timing import SampleTable


class Protection(Protocol):
    """What Common Encryption adds to a header and to each fragment."""

    def sample_entry_type(self, original: bytes) -> bytes:
        """The type that replaces ``original`` (``encv``)."""

    def sample_entry_boxes(self, original: bytes) -> bytes:
        """Boxes to append to the sample entry (``sinf``)."""

    def movie_boxes(self) -> bytes:
        """Boxes to append to the movie box (``pssh``, one a key system)."""

    def track_fragment_boxes(self, table: SampleTable, offset: int) -> bytes:
        """Boxes to append to the track fragment (``senc``, ``saiz``, ``saio``).

        ``offset`` is where they begin, from the start of the movie fragment box.
        """
