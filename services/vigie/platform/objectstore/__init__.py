"""The object-store port, a bucket of immutable objects with holds; its forms: directory, `s3`."""

from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store
from vigie.platform.objectstore.port import (
    FileState,
    Folder,
    ListedObject,
    ObjectInfo,
    ObjectStore,
    PutResult,
)

__all__ = [
    "DirectoryObjectStore",
    "FileState",
    "Folder",
    "ListedObject",
    "ObjectInfo",
    "ObjectStore",
    "PutResult",
    "open_directory_store",
]
