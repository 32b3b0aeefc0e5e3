"""What a tracer costs a workload, and what it keeps: ours beside BCC's callback, bpftrace, perf and trace-cmd.

`python -m tracelab.bench` runs all of them in turn on the same workload, and prints one table.
`python -m tracelab.bench.flamegraphs` is about drawing instead: our flame graph beside speedscope.
"""
