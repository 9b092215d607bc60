"""Helpers for the Google API improvement proposals: etags (AIP-154) and field masks (AIP-134)."""

import hashlib
from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from vigie.platform.errors import VigieError
from vigie.platform.reasons import ETAG_MISMATCH, FIELD_MASK_INVALID


def etag_of(*parts: object) -> str:
    """A short opaque tag that changes when one of ``parts`` does (revision, content …)."""
    digest = hashlib.sha256("\x00".join(str(part) for part in parts).encode()).hexdigest()
    return f'"{digest[:16]}"'


def check_etag(given: str, current: str, *, field: str = "etag") -> None:
    """Refuse a change that was made against an older state; an empty ``given`` checks nothing.

    Raises:
        VigieError: ETAG_MISMATCH.
    """
    if given and given != current:
        raise VigieError(
            ETAG_MISMATCH, "the resource has changed since it was read", field=field, etag=current
        )


def mask_paths(
    mask: FieldMask, message: Message, changeable: Collection[str], *, field: str = "update_mask"
) -> tuple[str, ...]:
    """The fields an update changes, sorted.

    An empty mask means every changeable field that is set in ``message`` (AIP-134); ``*`` means
    every changeable field.

    Args:
        mask: as sent.
        message: the resource with its new values.
        changeable: names that may be changed.
        field: name of the mask in the request.

    Raises:
        VigieError: FIELD_MASK_INVALID, naming the path.
    """
    if not mask.paths:
        # Only what is set: a client that does not know a field must not clear it.
        given = {descriptor.name for descriptor, _ in message.ListFields()}
        return tuple(sorted(given & set(changeable)))
    if list(mask.paths) == ["*"]:
        return tuple(sorted(changeable))
    for path in mask.paths:
        if path not in changeable:
            known = ", ".join(sorted(changeable))
            raise VigieError(
                FIELD_MASK_INVALID, f"{path!r} cannot be changed; these can: {known}", field=field
            )
    return tuple(sorted(set(mask.paths)))
