"""The object-store port: a bucket of immutable objects with holds and retention."""

from vigie.platform.objectstore.port import ObjectInfo, ObjectStore, PutResult

__all__ = ["ObjectInfo", "ObjectStore", "PutResult"]
