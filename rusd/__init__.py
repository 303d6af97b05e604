"""rusd: an etcd v3 server in Python on Trio.

Run it as the command ``rusd``, or inside a Trio program::

    async with rusd.serve(rusd.Config(data_dir=":memory:")) as server:
        ...  # any etcd client can talk to server.client_urls

The rooms, from the outside in:

========================  ==========================================================
:mod:`rusd.cli`           the command: flags, signals, exit codes
:mod:`rusd.server`        puts the parts together; who supervises whom
:mod:`rusd.services`      etcd's gRPC services; :mod:`rusd.gateway` is the HTTP side
:mod:`rusd.net`           sockets and tasks around :mod:`rusd.grpc` and :mod:`rusd.http2`
:mod:`rusd.replica`       one replica: the way of a write
:mod:`rusd.raft`          consensus
:mod:`rusd.state`         the replicated state machine over :mod:`rusd.mvcc` and :mod:`rusd.lease`
:mod:`rusd.watch`         who wants to hear of which change
:mod:`rusd.storage`       write-ahead log and snapshots
:mod:`rusd.environment`   the seam to clock, disk, network and chance
:mod:`rusd.testing`       fakes for that seam
========================  ==========================================================
"""

from rusd.config import Config
from rusd.environment import Environment, real_environment
from rusd.listeners import StartError
from rusd.server import Server, serve
from rusd.version import RUSD_VERSION

__version__ = RUSD_VERSION

__all__ = ["Config", "Environment", "Server", "StartError", "__version__", "real_environment", "serve"]
