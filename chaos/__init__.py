"""Chaos for etcd: real clusters of processes under load and faults, and a check of what they answered.

Run it with ``python -m chaos`` from the checkout; ``docs/chaos.md`` says how.  It drives rusd or any etcd
binary, by nothing but processes, ports and etcd's API.

=================  ==================================================================
run                a whole run: cluster, load, faults, recovery, verdict.  Start reading here
cluster, server    the processes, their folders and ports; what command starts them
proxy, links       the network between the members, which the tool owns
client             a client that knows what an error leaves open
workloads/         what clients do
faults/            what is done to the cluster, and the schedule of it
history            what happened, as records and as a file
model              etcd's key space as a specification
checkers/          whether what happened was right
report             the page that shows it
=================  ==================================================================
"""
