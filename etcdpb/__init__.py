"""etcd's public API as protobuf modules, and rusd's own messages.

======================  ===================  =========================================
module                  package              what
======================  ===================  =========================================
``kv_pb2``              mvccpb               keys and events
``rpc_pb2``             etcdserverpb         KV, Watch, Lease, Cluster, Maintenance, Auth
``auth_pb2``            authpb               users, roles, permissions
``v3lock_pb2``          v3lockpb             the Lock service
``v3election_pb2``      v3electionpb         the Election service
``health_pb2``          grpc.health.v1       the standard health service
``rusd_pb2``            rusdpb               what rusd stores and its members tell each other
======================  ===================  =========================================

Beside each module with services stands ``*_grpc`` with purerpc's ``*Servicer``
and ``*Stub`` classes; only those import purerpc.  Everything but ``_pool`` is
generated from the ``.proto`` files by ``generate.py``.
"""
