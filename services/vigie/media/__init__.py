"""Pure functions on bytes: RTP, H.264/H.265, ISO base media files. No I/O, no clocks.

Imports nothing but the standard library; whoever calls owns sockets, files and time. Media
bytes are never altered: NAL units keep their bytes and their order, SEI and access unit
delimiters included; only the 4-byte length before each of them is ours.

Units: ``timestamp`` is a presentation time in 90 kHz ticks, unwrapped to 64 bits;
``decode_time`` is in ticks of the run's media timescale (90000, 0 at the start of the run);
``*_us`` are microseconds (since the Unix epoch when an instant). Errors are subclasses of
``errors.MediaError`` with a stable ``reason``; nothing else is raised for bad bytes.

**Receive** (``depacketize``, ``gop``, ``rtcp``)::

    codec = VideoCodec.H264                                # codec.VideoCodec, or .H265
    sets = parameters.parameter_sets_from_fmtp(codec, {"sprop-parameter-sets": "..."})  # or None
    reader = make_depacketizer(codec, payload_type=96, parameters=sets, limits=Limits())
    position = reader.push_interleaved(buffer, start, end, channel, arrival_us)
        # consumes whole "$"-framed packets of `channel` in buffer[start:end]; stops at a partial
        # packet, another channel (RTCP) or RTSP text; returns the position it stopped at
    reader.push(buffer, offset, length, arrival_us)        # the same, one RTP packet
    for item in reader.take():  # Gop | Discontinuity, in order; [] nearly always
    reader.flush()              # the connection ended: closes the open GOP at its last whole frame
    reader.gop                  # the GOP still growing (Gop or None): live viewers read gop.frames
    reader.statistics           # packets, packets_lost, duplicates, foreign, frames, dropped...

``Gop``: one key-frame interval, samples as parallel lists: ``frames`` (buffers of length-prefixed
NAL units), ``timestamps``, ``arrivals_us`` (when its last packet came), ``sync``
(bytearray of 0/1), ``parameters`` (ParameterSets), ``starts_run``, ``end`` (GopEnd.KEY_FRAME |
PARAMETERS_CHANGED | DISCONTINUITY | FLUSH), ``end_timestamp`` (start of the next GOP, None when
the run ends). A GOP is delivered when the start of the next is certain, which with open GOPs is
a few frames after its key frame. ``Discontinuity(reason, packets, detail)``: the GOP before it
was cut at its last whole access unit, or before those that are shown behind missing B-frames
(``reordering``, which also tells B-frames from a clock that was set back); what follows starts at
a key frame, in a new run (also when the GOP before it had been delivered as ended by a key frame).

**RTCP** (``rtcp``): ``parse_compound(buffer, offset, length) -> list[RtcpPacket]`` with
``SenderReport(ssrc, wall_us, rtp_timestamp, packets, octets)``, ``Bye``...;
``build_receiver_report(...)``, ``build_sender_report(...)`` -> bytes (compound, with CNAME).
``rtp``: ``parse_header(buffer, offset, length) -> RtpHeader``, ``Unwrapper(bits)``,
``unwrap_near(raw, reference)`` (a sender report's timestamp beside those of the samples).

**Codecs** (``codec``, ``parameters``, ``h264``, ``h265``): ``ParameterSets(codec, vps, sps,
pps)`` (equal when the bytes are; those of a GOP are the ones its key frame uses),
``.configuration -> CodecConfiguration(codec, sample_entry, record (avcC/hvcC payload),
codec_string, width, height, profile, level, frame_duration | None, reorder_frames, pixel_aspect,
fields)``.

**Time** (``timing``): ``RunTimeline().append(gop) -> TimedGop(base_decode_time, table)`` for the
GOPs of one run; ``SampleTable(durations, sizes, composition_offsets, sync)``. Decode times are
the presentation times of the GOP in ascending order; sums are exact, the next GOP's base is this
one's base plus its duration. ``timeline.presentation_delay`` (fixed by the first GOP, 0 without
B-frames) goes into the header of every segment of the run; time of a sample in its run = decode
time + composition offset - presentation delay.

**Write** (``bmff.header``, ``bmff.fragment``, ``bmff.randomaccess``)::

    build_header(configuration, *, presentation_delay=0, bitrate=None, protection=None) -> bytes
        # ftyp + moov; presentation_delay=timeline.presentation_delay
    build_fragment(timed.table, sequence_number, timed.base_decode_time, wall_us=None) -> bytes
        # prft + moof + header of mdat: write it, then gop.frames
    RandomAccessTable(): .append(timed.key_time, moof_offset); .mfra(); .seek_table()
    content_type(configuration) -> 'video/mp4; codecs="avc1.64001f"'

**Read** (``bmff.reader``): each function is a generator of ``ReadRequest(offset, length)`` that
is sent the bytes asked for, so that the same parser reads memory, files and object stores:
``drive(steps, read)``, ``await drive_async(steps, read)``; ``read(offset, length) -> bytes``.

    header_steps(size) -> MediaHeader(track_id, timescale, configuration, size_bytes, ...)
    fragment_steps(size, header) -> list[Fragment(offset, size_bytes, moof_offset, data_offset,
                                    data_size, base_decode_time, duration, samples, wall_us ...)]
    mfra_steps(size) -> list[RandomAccessEntry] (empty when there is none)
    read_header(data), read_fragments(data), read_mfra(data): the same for bytes in memory

**Clips and packages** (``bmff.plan``, ``bmff.clip``, ``bmff.package``): plans without I/O.
``source`` is whatever the caller names an object by (a key, a row)::

    PlannedSegment(source, header, fragments, start_us, duration_us)    # the index's two clocks
    plan_clips(segments, from_us, to_us) -> list[MediaPlan]   # one, or one a codec and picture size
    plan_package(segments) -> MediaPlan         # segments of one run, samples bit for bit
    whole_fragments(segment, from_us, to_us) -> PlannedSegment | None   # reduce before packaging
    MediaPlan(content_type, size_bytes, parts, tail, start_us, end_us, duration_ticks, gaps)
    MediaPart(head: bytes, source, offset, length): send head, then source[offset:offset+length];
        after the last part send plan.tail
    stream(plan, read_source) -> Iterator[bytes];  read_source(source, offset, length) -> bytes
    WallMapping(start_us, duration_us, media_start, media_duration): .wall_us(t), .media_time(us)

**Compare and decode** (``annexb``): ``to_annexb(data, parameters=None) -> bytes``,
``split(data) -> Iterator[memoryview]``, ``nal_units(annexb) -> list[bytes]``.
"""
