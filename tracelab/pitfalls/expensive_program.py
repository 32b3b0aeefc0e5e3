"""An eBPF program takes a noticeable part of a CPU."""

from __future__ import annotations

from tracelab.analysis.cost import floor_ns, programs
from tracelab.pitfalls import Finding, Quantity, not_checked, pitfall
from tracelab.query.tables import Tables


@pitfall("An eBPF program is expensive", needs=("bpf_prog_stats", "bpf_progs"))
def expensive_program(tables: Tables, *, cpu_share: float = 0.01, bad_cpu_share: float = 0.1) -> Finding:
    """An eBPF program takes a noticeable part of a CPU.

    What it does: takes each program's run time over the window, less the floor that measuring adds to
    each run, as a share of one CPU. Above `cpu_share` it is found, and bad from `bad_cpu_share` on. Programs of this
    recording are left out: they are in s.programs(), marked as own.

    Why it costs: a tracing program runs inside what it traces. Its time is added to every system call or function
    it is attached to, on the CPU of whoever makes the call.

    What to do: run it less often (filter before it runs, attach to a rarer event), or make a run cheaper (fewer map
    lookups, string copies and stack walks; reserve in the ring buffer rather than copy).

    Source: run_time_ns and run_cnt of bpf_prog_info while BPF_ENABLE_STATS is held; the floor is that of an empty
    program on the recorded machine. What a program costs beside its own run time is not in these numbers.
    """
    table = programs(tables)
    if len(table) and table["seconds"].isna().all():
        return not_checked("there was only one reading of the programs", "record for two seconds or more")
    others = table[~table["own"].fillna(False).astype(bool)].reset_index(drop=True)
    dear = others[others["cpu_share"] > cpu_share]
    limit = Quantity(cpu_share, "of one CPU")
    worst = float(others["cpu_share"].max()) if len(others) else 0.0
    shown = ["name", "owner", "attach", "runs_per_s", "net_ns_per_run", "cpu_share", "misses", "prog_id"]
    if dear.empty:
        return Finding(
            "clear", measured=Quantity(worst, "of one CPU"), limit=limit, evidence=others[shown].head(5)
        )
    first = dear.iloc[0]
    cost = first["ns_per_run"] if floor_ns(tables) is None else first["net_ns_per_run"]
    kept = (
        "with the floor of the measurement, which was not calibrated" if floor_ns(tables) is None else "net"
    )
    return Finding(
        "found",
        severity="bad" if worst >= bad_cpu_share else "warning",
        title=f"{first['name']} of {first['owner']} takes {100 * worst:.3g} % of a CPU",
        measured=Quantity(worst, "of one CPU"),
        limit=limit,
        subjects=tuple(f"{r['name']} of {r['owner']}" for r in dear.to_dict("records")),
        evidence=dear[shown].reset_index(drop=True),
        why=f"{first['runs_per_s']:,.0f} runs per second of {cost:,.0f} ns each ({kept}), inside of what is traced",
        action="run it less often: filter earlier, attach to a rarer event; or make a run cheaper",
        not_meaning="it is not all that the tracer costs: its process, and slower paths in the kernel, come on top",
    )
