"""The object store on S3, by the `minio` client: any store with versions and Object Lock.

Only `settings` and `metrics` are loaded where no S3 is configured; everything else loads the
client library and is imported by whoever opens a store (`open_s3_store` in `opening`).
"""
