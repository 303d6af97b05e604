"""The network side, on Trio: from sockets to handlers and back.

===============  ====================================================================
server           serves a listener: accepting, telling protocols apart, draining
grpc_connection  a client's HTTP/2 connection and its handlers' tasks
http1            a client's HTTP/1.1 connection; http: what is asked and answered on it
client           the client role: calls to another server
watchdog         time-outs of an HTTP/2 connection; keepalive pings
link             one socket and one HTTP/2 connection, in turns.  Start reading here
poller           the one task that reads for all idle connections
streams          what a stream's handler waits on
flusher          one send per connection for what is written outside turns
timer            the task behind deadlines and time-outs
sniff            which protocol a connection speaks
limits           what clients may make us do or keep
===============  ====================================================================
"""

from typing import TYPE_CHECKING

from rusd.net.flusher import Flusher
from rusd.net.http import HttpHandler, HttpRequest, HttpResponse
from rusd.net.limits import Limits
from rusd.net.server import Server

if TYPE_CHECKING:
    from rusd.net.client import Answer, Client, ClientStream, connect

__all__ = [
    "Answer",
    "Client",
    "ClientStream",
    "Flusher",
    "HttpHandler",
    "HttpRequest",
    "HttpResponse",
    "Limits",
    "Server",
    "connect",
]


def __getattr__(name: str) -> object:
    """The client role, imported when first asked for: a member without peers never does."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rusd.net import client

    return getattr(client, name)
