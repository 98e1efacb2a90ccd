"""WebSocket frames made by hand where they are made thousands of times a second.

A server's frames carry no mask and, without extensions, no state: the same bytes go to every connection. Everything
else of the protocol is the `websockets` library's.

Source: RFC 6455, section 5.2
"""

import struct

_FINAL_TEXT = 0x81
_MIDDLE = struct.Struct("!BBH")


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final text frame that carries `payload` (UTF-8)."""
    length = len(payload)
    if length < 126:
        return bytes((_FINAL_TEXT, length)) + payload
    if length < 65_536:
        return _MIDDLE.pack(_FINAL_TEXT, 126, length) + payload
    return struct.pack("!BBQ", _FINAL_TEXT, 127, length) + payload
