"""HTTP/2 (RFC 9113) and nothing else, both roles, sans-IO.

=============  =====================================================================
connection     the frame loop; HEADERS, CONTINUATION, DATA.  Start reading here
control        SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY
sending        what a caller may have sent
outgoing       how it leaves: frames, queues behind the windows, the end of streams
streams        the states of a stream as a table
windows        flow-control arithmetic
settings       SETTINGS values
hpack          header compression (RFC 7541)
floods         how much work for nothing a peer may make
fields         which header fields make a valid message
frames         the frame layer's constants and builders
events         Role, Events, Limits: what a connection is given
errors         error codes and exceptions
=============  =====================================================================
"""

from rusd.http2.connection import Connection
from rusd.http2.errors import ErrorCode, Http2Error, NoNewStreamsError, StreamStateError
from rusd.http2.events import Events, Limits, Role
from rusd.http2.frames import PREFACE
from rusd.http2.hpack import encode_static
from rusd.http2.settings import Settings

__all__ = [
    "PREFACE",
    "Connection",
    "ErrorCode",
    "Events",
    "Http2Error",
    "Limits",
    "NoNewStreamsError",
    "Role",
    "Settings",
    "StreamStateError",
    "encode_static",
]
