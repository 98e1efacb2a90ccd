"""WebSocket frames made by hand where they are made thousands of times a second.

A server's frames carry no mask and, without extensions, no state: the same bytes go to every connection. Everything
else of the protocol is the `websockets` library's.

Source: RFC 6455, section 5.2
"""

import struct
from functools import lru_cache

_FINAL_TEXT = 0x81
_MIDDLE = struct.Struct("!BBH")


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final text frame that carries `payload` (UTF-8)."""
    return text_header(len(payload)) + payload


@lru_cache(maxsize=4_096)
def text_header(length: int) -> bytes:
    """Return what precedes a payload of `length` bytes in an unmasked, final text frame."""
    if length < 126:
        return bytes((_FINAL_TEXT, length))
    if length < 65_536:
        return _MIDDLE.pack(_FINAL_TEXT, 126, length)
    return struct.pack("!BBQ", _FINAL_TEXT, 127, length)
