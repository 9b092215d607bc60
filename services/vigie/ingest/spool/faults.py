"""The fault points of the write path, in the order in which footage passes them."""

from typing import Final

RUN_CREATE: Final = "ingest.run.create"
RECORD_WRITE: Final = "ingest.record.write"
RECORD_RENAME: Final = "ingest.record.rename"
RECORD_SYNC: Final = "ingest.record.sync"
SEGMENT_CREATE: Final = "ingest.segment.create"
FRAGMENT_WRITE: Final = "ingest.fragment.write"
FRAGMENT_SYNC: Final = "ingest.fragment.sync"
FRAGMENT_SUM: Final = "ingest.fragment.sum"
SUM_SYNC: Final = "ingest.fragment.sum.sync"
SEGMENT_INDEX: Final = "ingest.segment.index"
SEGMENT_SYNC: Final = "ingest.segment.sync"
SEGMENT_RECORD: Final = "ingest.segment.record"
SEGMENT_RECORDED: Final = "ingest.segment.recorded"
RUN_END: Final = "ingest.run.end"
RUN_ENDED: Final = "ingest.run.ended"
UPLOAD_STORE: Final = "ingest.upload.store"
UPLOAD_PUBLISH: Final = "ingest.upload.publish"
UPLOAD_REMOVE: Final = "ingest.upload.remove"
UPLOAD_SYNC: Final = "ingest.upload.sync"
UPLOAD_FORGET: Final = "ingest.upload.forget"
END_STORE: Final = "ingest.end.store"
END_PUBLISH: Final = "ingest.end.publish"
END_REMOVE: Final = "ingest.end.remove"
END_FORGET: Final = "ingest.end.forget"

FAULT_POINTS: Final[tuple[str, ...]] = (
    RUN_CREATE,
    RECORD_WRITE,
    RECORD_RENAME,
    RECORD_SYNC,
    SEGMENT_CREATE,
    FRAGMENT_WRITE,
    FRAGMENT_SYNC,
    FRAGMENT_SUM,
    SUM_SYNC,
    SEGMENT_INDEX,
    SEGMENT_SYNC,
    SEGMENT_RECORD,
    SEGMENT_RECORDED,
    RUN_END,
    RUN_ENDED,
    UPLOAD_STORE,
    UPLOAD_PUBLISH,
    UPLOAD_REMOVE,
    UPLOAD_SYNC,
    UPLOAD_FORGET,
    END_STORE,
    END_PUBLISH,
    END_REMOVE,
    END_FORGET,
)
