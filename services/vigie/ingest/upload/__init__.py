"""From the spool to the store: object verified, event acknowledged, only then the file goes."""
