"""Update masks (AIP-134) and etags (AIP-154)."""

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from vigie.platform.errors import VigieError
from vigie.platform.reasons import ETAG_MISMATCH, FIELD_MASK_INVALID
from vigie.registry.convert import etag_of


def is_whole(mask: FieldMask) -> bool:
    """Whether a mask stands for every field that can be changed."""
    return not mask.paths or list(mask.paths) == ["*"]


def paths_of(mask: FieldMask, changeable: Sequence[str]) -> tuple[str, ...]:
    """The fields to change.

    Raises:
        VigieError: FIELD_MASK_INVALID, naming what can be changed.
    """
    if is_whole(mask):
        return tuple(changeable)
    for index, path in enumerate(mask.paths):
        if path not in changeable:
            raise VigieError(
                FIELD_MASK_INVALID,
                f"{path!r} cannot be changed; what can: {', '.join(changeable)}",
                field=f"update_mask.paths[{index}]",
            )
    return tuple(dict.fromkeys(mask.paths))


def check_etag(given: str, version: int, *, field: str) -> None:
    """Refuse a change that was made up from an older version.

    Raises:
        VigieError: ETAG_MISMATCH.
    """
    if given and given != etag_of(version):
        raise VigieError(ETAG_MISMATCH, "it has changed since it was read", field=field)
