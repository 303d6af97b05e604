"""The HTTP/1.1 side of the ports.

* :mod:`~rusd.gateway.routes`: which path of the client port goes where, and ``/version``
* :mod:`~rusd.gateway.health`: ``/health``, ``/livez``, ``/readyz``
* :mod:`~rusd.gateway.peer`: the peer port's ``/members``, ``/version`` and what else etcd's members ask there
"""

from rusd.gateway.health import Health
from rusd.gateway.peer import PeerRoutes
from rusd.gateway.routes import Routes

__all__ = ["Health", "PeerRoutes", "Routes"]
