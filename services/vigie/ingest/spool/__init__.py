"""The spool: footage on the local disk until store and event log have acknowledged it.

One directory per run, below one per camera::

    <spool>/runs/<camera>/<run>/run.json         what the run is; made first, removed last
                                000000.m4v       a segment: growing, or closed and not yet stored
                                000000.sums      running digests of a growing segment
                                000000.json      a closed segment: all that its object carries
                                end.json         the run is over
    <spool>/quarantine/                          what nobody could understand, with the reason

A segment is closed exactly when its ``.json`` exists. It is acknowledged exactly when its ``.m4v``
is gone and its ``.json`` is still there; the ``.json`` of the newest closed segment stays until
the next one is acknowledged, because it says where the run stands.
"""
