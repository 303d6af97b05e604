"""Whether what happened was right.

=================  ==================================================================
log                the order of all changes, from what full watches were told
replay             linearizability by revision: every answer against the model
linearize          linearizability by search, trusting no revision
watch              what watchers were told: ordered, unique, atomic, complete, resumable
lease, lock        leases that end too early or too late; writes without the lock
totals             counters, lists and accounts that add up
hashes, election   members that say they hold the same; terms with one leader
judge              all of these, and one verdict.  Start reading here
=================  ==================================================================
"""
