"""The native engine: RTSP over TCP, H.264 and H.265, sockets drained in ticks.

Reading order: ``engine`` (what the port asks for), ``reactor`` (the thread and its ticks),
``session`` (one camera from address to end), ``connection`` (the socket, TLS), ``reception``
(from depacketiser to sink), ``settings``, ``resolver``. Why it is built so, and what it costs:
``docs/design/reception.md``.
"""
