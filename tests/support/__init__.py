"""What the black-box tests share.

* :mod:`tests.support.processes` starts and kills server processes: rusd, or a real etcd to compare with.
* :mod:`tests.support.client` talks gRPC to either through grpcio, a client that is not ours.
* :mod:`tests.support.tools` finds Go, Node and etcd's own binaries, and says what to do when one is missing.

These three don't import rusd: they see the server as a stranger does, by its process and its ports.
"""
