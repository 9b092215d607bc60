"""The object-store port, a bucket of immutable objects with holds, and its directory form."""

from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store
from vigie.platform.objectstore.port import FileState, ObjectInfo, ObjectStore, PutResult

__all__ = [
    "DirectoryObjectStore",
    "FileState",
    "ObjectInfo",
    "ObjectStore",
    "PutResult",
    "open_directory_store",
]
