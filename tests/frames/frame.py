"""Frames and header blocks as bytes: what h2 would refuse to send, too."""
import struct

(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY,
 WINDOW_UPDATE, CONTINUATION) = range(10)
# Of SETTINGS; h2 takes these numbers as well.
HEADER_TABLE_SIZE, _, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
MAX_FRAME = 16384
LAST_STREAM = 2**31 - 1


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """One frame; `length` may differ from the payload's."""
    size = len(payload) if length is None else length
    return (struct.pack(">I", size)[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *p) for p in pairs))


def goaway(last, code, debug=b""):
    return frame(GOAWAY, payload=struct.pack(">II", last, code) + debug)


def rst(stream, code):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window_update(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def integer(number, bits, first=0):
    """HPACK's integers, RFC 7541, 5.1; `first` has the bits in front."""
    most = (1 << bits) - 1
    if number < most:
        return bytes([first | number])
    out, number = [first | most], number - most
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def literal(name, value):
    """A header field, neither indexed nor compressed."""
    return b"\0" + b"".join(
        integer(len(x), 7) + x for x in (name.encode(), value.encode()))


def block(fields):
    """A header block that leaves the compression's state alone."""
    return b"".join(literal(n, v) for n, v in fields)


def headers(stream, fields, flags=0, piece=MAX_FRAME):
    """HEADERS, and CONTINUATION as often as it takes."""
    return headers_of(stream, block(fields), flags, piece)


def headers_of(stream, data, flags=0, piece=MAX_FRAME):
    pieces = [data[i:i + piece] for i in range(0, len(data), piece)] or [b""]
    frames = [frame(HEADERS if i == 0 else CONTINUATION, 0, stream, p)
              for i, p in enumerate(pieces)]
    frames[0] = frame(HEADERS, flags, stream, pieces[0])
    last = frames.pop()
    # END_HEADERS is the last one's, whichever type that has.
    return b"".join(frames) + last[:4] + bytes([last[4] | END_HEADERS]) + last[5:]
