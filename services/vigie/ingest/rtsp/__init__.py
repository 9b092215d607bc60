"""RTSP 1.0 (RFC 2326) as a client speaks it, without I/O: bytes in, events and bytes out.

``message`` reads and writes messages, ``sdp`` reads session descriptions (RFC 8866), ``auth``
answers challenges (RFC 7616, RFC 7617), ``address`` handles addresses without leaking what is
secret in them, ``client`` is the state machine from OPTIONS to TEARDOWN.

Everything a camera sends is bounded and validated; the only exceptions are `RtspError` and its
subclasses, whose text holds no credentials.
"""
