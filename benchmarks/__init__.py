"""rusd beside etcd: the same work on both in turn, and what comes of it.

    python -m benchmarks                        # everything; see --help
    python -m benchmarks.compare main HEAD      # two commits of rusd

Not part of what is installed: it runs from the checkout.  It needs Linux (memory and processor time come from
``/proc``), Go for the load generator in ``load/``, and an etcd.  ``docs/benchmarks.md`` says what is
measured and how to read it.
"""
