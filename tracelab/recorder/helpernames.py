"""Names of the functions that eBPF programs call: the kernel's own, and the helpers' that they stand for.

A helper has one name for programmers, and often several functions in the kernel: `perf_event_output` is
bpf_perf_event_output_tp, bpf_perf_event_output_raw_tp, ...; a lookup in a hash map is __htab_map_lookup_elem.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

KALLSYMS = Path("/proc/kallsyms")
READ_AGAIN_S = (
    60.0  #: at the earliest, for addresses that were not there: modules bring functions of their own
)
#: __BPF_FUNC_MAPPER of include/uapi/linux/bpf.h, by number; the list is closed, newer functions are kfuncs
HELPERS = (
    "unspec map_lookup_elem map_update_elem map_delete_elem probe_read ktime_get_ns trace_printk get_prandom_u32 "
    "get_smp_processor_id skb_store_bytes l3_csum_replace l4_csum_replace tail_call clone_redirect "
    "get_current_pid_tgid get_current_uid_gid get_current_comm get_cgroup_classid skb_vlan_push skb_vlan_pop "
    "skb_get_tunnel_key skb_set_tunnel_key perf_event_read redirect get_route_realm perf_event_output "
    "skb_load_bytes get_stackid csum_diff skb_get_tunnel_opt skb_set_tunnel_opt skb_change_proto skb_change_type "
    "skb_under_cgroup get_hash_recalc get_current_task probe_write_user current_task_under_cgroup "
    "skb_change_tail skb_pull_data csum_update set_hash_invalid get_numa_node_id skb_change_head "
    "xdp_adjust_head probe_read_str get_socket_cookie get_socket_uid set_hash setsockopt skb_adjust_room "
    "redirect_map sk_redirect_map sock_map_update xdp_adjust_meta perf_event_read_value perf_prog_read_value "
    "getsockopt override_return sock_ops_cb_flags_set msg_redirect_map msg_apply_bytes msg_cork_bytes "
    "msg_pull_data bind xdp_adjust_tail skb_get_xfrm_state get_stack skb_load_bytes_relative fib_lookup "
    "sock_hash_update msg_redirect_hash sk_redirect_hash lwt_push_encap lwt_seg6_store_bytes "
    "lwt_seg6_adjust_srh lwt_seg6_action rc_repeat rc_keydown skb_cgroup_id get_current_cgroup_id "
    "get_local_storage sk_select_reuseport skb_ancestor_cgroup_id sk_lookup_tcp sk_lookup_udp sk_release "
    "map_push_elem map_pop_elem map_peek_elem msg_push_data msg_pop_data rc_pointer_rel spin_lock spin_unlock "
    "sk_fullsock tcp_sock skb_ecn_set_ce get_listener_sock skc_lookup_tcp tcp_check_syncookie sysctl_get_name "
    "sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value strtol strtoul sk_storage_get "
    "sk_storage_delete send_signal tcp_gen_syncookie skb_output probe_read_user probe_read_kernel "
    "probe_read_user_str probe_read_kernel_str tcp_send_ack send_signal_thread jiffies64 read_branch_records "
    "get_ns_current_pid_tgid xdp_output get_netns_cookie get_current_ancestor_cgroup_id sk_assign "
    "ktime_get_boot_ns seq_printf seq_write sk_cgroup_id sk_ancestor_cgroup_id ringbuf_output ringbuf_reserve "
    "ringbuf_submit ringbuf_discard ringbuf_query csum_level skc_to_tcp6_sock skc_to_tcp_sock "
    "skc_to_tcp_timewait_sock skc_to_tcp_request_sock skc_to_udp6_sock get_task_stack load_hdr_opt store_hdr_opt "
    "reserve_hdr_opt inode_storage_get inode_storage_delete d_path copy_from_user snprintf_btf seq_printf_btf "
    "skb_cgroup_classid redirect_neigh per_cpu_ptr this_cpu_ptr redirect_peer task_storage_get "
    "task_storage_delete get_current_task_btf bprm_opts_set ktime_get_coarse_ns ima_inode_hash sock_from_file "
    "check_mtu for_each_map_elem snprintf sys_bpf btf_find_by_name_kind sys_close timer_init timer_set_callback "
    "timer_start timer_cancel get_func_ip get_attach_cookie task_pt_regs get_branch_snapshot trace_vprintk "
    "skc_to_unix_sock kallsyms_lookup_name find_vma loop strncmp get_func_arg get_func_ret get_func_arg_cnt "
    "get_retval set_retval xdp_get_buff_len xdp_load_bytes xdp_store_bytes copy_from_user_task skb_set_tstamp "
    "ima_file_hash kptr_xchg map_lookup_percpu_elem skc_to_mptcp_sock dynptr_from_mem ringbuf_reserve_dynptr "
    "ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_read dynptr_write dynptr_data "
    "tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 "
    "tcp_raw_check_syncookie_ipv6 ktime_get_tai_ns user_ringbuf_drain cgrp_storage_get cgrp_storage_delete"
).split()
_HELPERS = frozenset(HELPERS)
#: functions whose name tells nothing of the helper: kernel/bpf/core.c, kernel/trace/bpf_trace.c, net/core/filter.c
_OTHERWISE = {
    "user_rnd_u32": "get_prandom_u32",
    "get_raw_cpu_id": "get_smp_processor_id",
    "probe_read_compat": "probe_read",
    "probe_read_compat_str": "probe_read_str",
    "event_output_data": "perf_event_output",
    "skb_event_output": "perf_event_output",
    "xdp_event_output": "perf_event_output",
}
_OF_MAP = re.compile(r"_(lookup_percpu|lookup|update|delete|push|pop|peek)_elem$")


def helper_name(function: str) -> str:
    """The helper that a function of the kernel stands for; the function's own name when it is none.

    >>> [helper_name(f) for f in ("bpf_get_stackid_raw_tp", "htab_map_update_elem", "bpf_user_rnd_u32", "schedule")]
    ['get_stackid', 'map_update_elem', 'get_prandom_u32', 'schedule']
    """
    name = function.removeprefix("bpf_")
    if name in _HELPERS:
        return name
    if name in _OTHERWISE:
        return _OTHERWISE[name]
    if operation := _OF_MAP.search(function):
        return f"map_{operation[1]}_elem"
    if function.startswith("bpf_for_each_") and function.endswith("_elem"):
        return "for_each_map_elem"
    if re.search(r"(?:map|hash)_redirect$", function):
        return "redirect_map"
    if function == name:
        return function
    parts = name.split("_")
    heads = ("_".join(parts[:i]) for i in range(len(parts) - 1, 0, -1))  # get_stackid_raw_tp
    tails = ("_".join(parts[i:]) for i in range(1, len(parts)))  # sock_addr_sk_lookup_tcp
    return next((part for part in (*heads, *tails) if part in _HELPERS), name)


class KernelNames:
    """What the kernel calls its functions and variables, as far as it is asked for.

    Knows nothing where /proc/kallsyms hides addresses (kernel.kptr_restrict), which it does with zeros.
    """

    def __init__(self, text: bytes | None = None) -> None:
        """Names from the text of /proc/kallsyms, or else of the running kernel's, read when first asked."""
        self._text = text
        self._given = text is not None
        self._read_at = -READ_AGAIN_S
        self._names: dict[int, str | None] = {}
        self._addresses: dict[str, int | None] = {}

    def address(self, name: str) -> int | None:
        """Where a function or variable is, or None."""
        if name not in self._addresses:
            text, wanted = self._read(), f" {name}\n".encode()
            at = text.find(wanted)
            line = text[text.rfind(b"\n", 0, at) + 1 : at].split()
            self._addresses[name] = int(line[0], 16) or None if at >= 0 and line else None
        return self._addresses[name]

    def name(self, address: int) -> str | None:
        """The function at an address, or None; looked for again, after a while, as modules bring functions."""
        if self._names.get(address) is None:
            if address in self._names and self._is_old():
                self._text = None
            self._names[address] = self._find(address)
        return self._names[address]

    def _find(self, address: int) -> str | None:
        """Of several functions at an address, the one of eBPF, or else the first."""
        text, wanted = self._read(), b"%016x " % address
        found = []
        at = text.find(wanted)
        while at >= 0:
            found.append(text[at : text.find(b"\n", at)].split()[2].decode("utf-8", "replace"))
            at = text.find(b"\n", at) + 1
            if not at or not text.startswith(wanted, at):
                break
        return min(found, key=lambda name: not name.startswith("bpf_"), default=None)

    def _is_old(self) -> bool:
        return not self._given and time.monotonic() - self._read_at > READ_AGAIN_S

    def _read(self) -> bytes:
        if self._text is None:
            self._read_at = time.monotonic()
            try:
                self._text = KALLSYMS.read_bytes()
            except OSError:
                self._text = b""
        return self._text
