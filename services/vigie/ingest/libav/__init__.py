"""The second engine: whatever libav can open (RTSP over UDP, RTMP, SRT, HTTP, MPEG-TS, files).

A thread a session, through PyAV. It costs about six times what the native engine does and sees
less (see ``docs/design/reception.md``), so it is for what the native engine does not speak.
"""
