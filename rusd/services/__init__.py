"""etcd's gRPC services, one module each, and what they share.

* ``context``: the parts every service works with, and the way of a proposal and a read
* ``errors``, ``validate``, ``quota``: what is refused, before it reaches the log
* ``header``, ``encoding``: answers as bytes
* ``kv``, ``watch``, ``lease``, ``cluster``, ``maintenance``, ``health``: the services
* ``lock``, ``election``: recipes on top of KV, which ``recipes`` holds
"""

from rusd.services.assembly import Services
from rusd.services.context import Context, Limits
from rusd.services.header import HeaderWriter
from rusd.services.quota import Quota

__all__ = ["Context", "HeaderWriter", "Limits", "Quota", "Services"]
