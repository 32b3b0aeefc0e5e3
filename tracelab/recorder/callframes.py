"""Call frame programs, all of them at once: in lockstep, in NumPy.

The program of a function tells, for each of its addresses, where the caller's registers are. Run one after the
other in Python they take minutes for a large library; here all of them take their next instruction together,
so that the work per instruction is a few array operations.

Source: DWARF 5 section 6.4.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_Rule = npt.NDArray[np.int64] | npt.NDArray[np.int32] | int

#: Columns of a rule. `cfa` is the stack pointer of the caller, before it pushed the return address.
(
    CFA_KIND,
    CFA_REG,
    CFA_OFFSET,
    CFA_ADD,
    RA_KIND,
    RA_OFFSET,
    RBP_KIND,
    RBP_OFFSET,
    RBX_KIND,
    RBX_OFFSET,
    SIGNAL,
) = range(11)
COLUMNS = 11
#: Kinds of CFA: none at all; reg + offset; *(reg + offset) + add; a PLT, offset 8 more where pc % 16 >= add; one that
#: is not understood; that of code which may have switched to another stack, with the frame pointer of the one before.
NONE, REGISTER, MEMORY, PLT, UNKNOWN, SWITCHED = range(6)
#: Kinds of a saved register: unchanged; at cfa + offset; at rbp + offset; at rsp + offset; in register `offset`;
#: not to be had, which for a return address means that this is the outermost frame.
SAME, AT_CFA, AT_RBP, AT_RSP, IN_REGISTER, UNDEFINED, UNSUPPORTED = range(7)

RAX, RBX, RBP, RSP, RIP = 0, 3, 6, 7, 16  #: DWARF numbers of x86-64 registers
_KINDS = {RIP: RA_KIND, RBP: RBP_KIND, RBX: RBX_KIND}  #: tracked registers; the offset is the next column
_SLOT = np.zeros(256, np.int64)  #: column of a register's kind, 0 for those that are not tracked
for _register, _kind in _KINDS.items():
    _SLOT[_register] = _kind

#: breg7 8, breg16 0, lit15, and, litN, ge, lit3, shl, plus: rsp + 8 + (rip % 16 >= N) * 8
_PLT = re.compile(rb"\x77\x08\x80\x00\x3f\x1a([\x30-\x4f])\x2a\x33\x24\x22")
MAX_STATES = 16  #: depth of remembered states; compilers use one or two


class Rows(NamedTuple):
    """Rows in the order of their entries; a row holds from `start` to the next row's, or to its entry's end."""

    start: Ints  #: address
    rule: npt.NDArray[np.int32]  #: shape (rows, COLUMNS)
    first: Ints  #: address of each entry
    ends: Ints  #: end address of each entry


@dataclass(frozen=True, slots=True)
class Cie:
    """What the programs of a common information entry (CIE) share."""

    code_align: int
    data_align: int
    initial: tuple[int, ...]  #: the rule that they begin with


class Machine:
    """A block of programs of one CIE, and the registers of all of them."""

    def __init__(self, data: Bytes, cie: Cie, at: Ints, end: Ints, start: Ints, covers: Ints) -> None:
        self.data = data
        self.cie = cie
        self.at = at
        self.end = end
        self.first = start
        self.address = start.copy()
        self.limit = start + covers
        self.initial = np.array(cie.initial, np.int32)
        self.state = np.repeat(self.initial[:, None], len(at), axis=1)
        self.bad = np.zeros(len(at), np.bool_)
        self._saved: list[npt.NDArray[np.int32]] = []
        self._depth = np.zeros(len(at), np.int64)
        self._emitted: list[tuple[Ints, Ints, npt.NDArray[np.int32]]] = []

    def run(self) -> Rows:
        """Run to the end of every program."""
        live = np.flatnonzero(self.at < self.end)
        while live.size:
            op = self.data[self.at[live]]
            self.at[live] += 1
            kinds = _CLASS[op]
            present = np.flatnonzero(np.bincount(kinds, minlength=len(_STEPS)))
            for kind in present:
                step = _STEPS[kind]
                if step is not None:
                    mine = kinds == kind if present.size > 1 else slice(None)
                    step(self, live[mine], op[mine])
            left = self.end[live] - self.at[live]
            self.bad[live[left < 0]] = True
            live = live[(left > 0) & ~self.bad[live]]
        self._emit(np.arange(len(self.at)))
        which, start, rule = (np.concatenate(parts) for parts in zip(*self._emitted, strict=True))
        good = ~self.bad[which] & (start >= self.first[which]) & (start < self.limit[which])
        return Rows(start[good], rule[good], self.first[~self.bad], self.limit[~self.bad])

    def _emit(self, who: Ints) -> None:
        self._emitted.append((who, self.address[who], self.state[:, who].T))

    def _advance(self, who: Ints, by: Ints) -> None:
        self._emit(who)
        self.address[who] += by * self.cie.code_align

    def _do_advance(self, who: Ints, op: Bytes) -> None:
        self._advance(who, (op & 0x3F).astype(np.int64))

    def _do_advance_long(self, who: Ints, op: Bytes) -> None:
        for code, size in ((2, 1), (3, 2), (4, 4)):
            mine = who[op == code]
            if mine.size:
                self._advance(mine, unsigned(self.data, self.at[mine], size))
                self.at[mine] += size

    def _do_offset(self, who: Ints, op: Bytes) -> None:
        at = self._uleb(who)
        self._set(who, op & 0x3F, AT_CFA, at * self.cie.data_align)

    def _do_offset_extended(self, who: Ints, op: Bytes) -> None:
        register = self._uleb(who)
        at = self._leb(who, op == 0x11)
        at[op == 0x2F] *= -1
        self._set(who, register, AT_CFA, at * self.cie.data_align)

    def _do_restore(self, who: Ints, op: Bytes) -> None:
        register = (op & 0x3F).astype(np.int64)
        extended = op == 0x06
        if extended.any():
            register[extended] = self._uleb(who[extended])
        slot = _SLOT[np.minimum(register, 255)]
        self._set(who, register, self.initial[slot], self.initial[slot + 1])

    def _do_undefined(self, who: Ints, op: Bytes) -> None:
        self._set(who, self._uleb(who), np.where(op == 0x07, UNDEFINED, SAME), 0)

    def _do_in_register(self, who: Ints, op: Bytes) -> None:
        register = self._uleb(who)
        self._set(who, register, IN_REGISTER, self._uleb(who))

    def _do_val_offset(self, who: Ints, op: Bytes) -> None:
        register = self._uleb(who)
        self._leb(who, op == 0x15)
        self._set(who, register, UNSUPPORTED, 0)

    def _do_remember(self, who: Ints, op: Bytes) -> None:
        depth = self._depth[who]
        self.bad[who[depth >= MAX_STATES]] = True
        who = who[depth < MAX_STATES]
        for d in np.unique(self._depth[who]):
            while len(self._saved) <= d:
                self._saved.append(np.zeros_like(self.state))
            mine = who[self._depth[who] == d]
            self._saved[d][:, mine] = self.state[:, mine]
        self._depth[who] += 1

    def _do_restore_state(self, who: Ints, op: Bytes) -> None:
        self.bad[who[self._depth[who] == 0]] = True
        who = who[self._depth[who] > 0]
        self._depth[who] -= 1
        for d in np.unique(self._depth[who]):
            mine = who[self._depth[who] == d]
            self.state[:, mine] = self._saved[d][:, mine]

    def _do_def_cfa(self, who: Ints, op: Bytes) -> None:
        self._set_cfa_register(who)
        self._set_cfa_offset(who, op == 0x12)

    def _do_def_cfa_register(self, who: Ints, op: Bytes) -> None:
        self._set_cfa_register(who)

    def _do_def_cfa_offset(self, who: Ints, op: Bytes) -> None:
        self._set_cfa_offset(who, op == 0x13)

    def _do_def_cfa_expression(self, who: Ints, op: Bytes) -> None:
        for one, expression in self._expressions(who):
            self.state[CFA_KIND : CFA_ADD + 1, one] = cfa_of_expression(expression)

    def _do_expression(self, who: Ints, op: Bytes) -> None:
        register = self._uleb(who)
        kinds = np.zeros(len(who), np.int64)
        offsets = np.zeros(len(who), np.int64)
        for i, (_, expression) in enumerate(self._expressions(who)):
            kinds[i], offsets[i] = saved_by_expression(expression)
        kinds[op == 0x16] = UNSUPPORTED  # the value itself, not where it is
        self._set(who, register, kinds, offsets)

    def _do_skip_argument(self, who: Ints, op: Bytes) -> None:
        self._uleb(who)

    def _do_unknown(self, who: Ints, op: Bytes) -> None:
        self.bad[who] = True

    def _set_cfa_register(self, who: Ints) -> None:
        register = self._uleb(who)
        self.bad[who[register > RIP]] = True
        self.state[CFA_KIND, who] = REGISTER
        self.state[CFA_REG, who] = np.minimum(register, RIP)
        self.state[CFA_ADD, who] = 0

    def _set_cfa_offset(self, who: Ints, signed: npt.NDArray[np.bool_]) -> None:
        offset = self._leb(who, signed)
        offset[signed] *= self.cie.data_align
        self.state[CFA_OFFSET, who] = _fits(offset)

    def _set(self, who: Ints, register: Ints | Bytes, kind: _Rule, offset: _Rule) -> None:
        slot = _SLOT[np.minimum(register, 255)]
        tracked = np.flatnonzero(slot)
        who, slot = who[tracked], slot[tracked]
        self.state[slot, who] = np.broadcast_to(kind, len(register))[tracked]
        self.state[slot + 1, who] = _fits(np.broadcast_to(offset, len(register))[tracked])

    def _uleb(self, who: Ints) -> Ints:
        value, self.at[who] = uleb(self.data, self.at[who])
        return value

    def _leb(self, who: Ints, signed: npt.NDArray[np.bool_]) -> Ints:
        before = self.at[who]
        value = self._uleb(who)
        bits = 7 * (self.at[who] - before)
        negative = signed & (bits < 63) & ((value >> np.maximum(bits - 1, 0)) & 1 == 1)
        value[negative] -= np.int64(1) << bits[negative]
        return value

    def _expressions(self, who: Ints) -> list[tuple[int, bytes]]:
        size = np.minimum(self._uleb(who), 1 << 20)
        at = self.at[who]
        self.at[who] += size
        raw = [self.data[a : a + min(n, 32)].tobytes() for a, n in zip(at, size, strict=True)]
        return list(zip(who.tolist(), raw, strict=True))


def cfa_of_expression(expression: bytes) -> tuple[int, int, int, int]:
    """Kind, register, offset and addend of the CFA expressions that compilers and linkers write.

    `breg N` alone, with `deref`, with `plus_uconst` after either, and the one of every PLT of x86-64.
    """
    plt = _PLT.fullmatch(expression)
    if plt:
        return PLT, RSP, 8, plt[1][0] - 0x30
    register, offset, rest = _base(expression)
    if register < 0:
        return UNKNOWN, 0, 0, 0
    kind = MEMORY if rest[:1] == b"\x06" else REGISTER
    rest = rest[1:] if kind == MEMORY else rest
    add = 0
    if rest[:1] == b"\x23":
        add, used = _leb_of(rest[1:], signed=False)
        rest = rest[1 + used :] if used else rest
    if rest:
        return UNKNOWN, 0, 0, 0
    return (MEMORY, register, offset, add) if kind == MEMORY else (REGISTER, register, offset + add, 0)


def saved_by_expression(expression: bytes) -> tuple[int, int]:
    """Kind and offset of a register that is saved at rbp, or rsp, and an offset."""
    register, offset, rest = _base(expression)
    kind = {RBP: AT_RBP, RSP: AT_RSP}.get(register, UNSUPPORTED)
    return (UNSUPPORTED, 0) if rest else (kind, offset)


def _base(expression: bytes) -> tuple[int, int, bytes]:
    """Register and offset of a leading `breg`, and what follows; register -1 where there is none."""
    offset, used = _leb_of(expression[1:], signed=True)
    if not used or not 0x70 <= expression[0] <= 0x70 + RIP:
        return -1, 0, b""
    return expression[0] - 0x70, offset, expression[1 + used :]


def _leb_of(raw: bytes, *, signed: bool) -> tuple[int, int]:
    """A number, and how many bytes it takes: 0 when it does not end."""
    value = 0
    for i, byte in enumerate(raw[:4]):
        value |= (byte & 0x7F) << 7 * i
        if not byte & 0x80:
            return (value - (1 << 7 * (i + 1)) if signed and byte & 0x40 else value), i + 1
    return 0, 0


def uleb(data: Bytes, at: Ints) -> tuple[Ints, Ints]:
    """Numbers of variable length at `at`, and where each of them ends."""
    at = np.minimum(at, len(data) - 12)
    byte = data[at]
    value = (byte & 0x7F).astype(np.int64)
    more = byte >= 0x80
    after = at + 1
    for shift in range(7, 63, 7):
        if not more.any():
            break
        byte = data[np.minimum(after, len(data) - 1)]
        value[more] |= (byte[more].astype(np.int64) & 0x7F) << shift
        after = after + more
        more = more & (byte >= 0x80)
    return value, after


def unsigned(data: Bytes, at: Ints, size: int) -> Ints:
    """Little-endian numbers of `size` bytes at `at`; 8 bytes wrap around to negative ones."""
    value = np.zeros(len(at), np.int64)
    at = np.clip(at, 0, len(data) - size)
    for i in range(size):
        value |= data[at + i].astype(np.int64) << (8 * i)
    return value


def signed(data: Bytes, at: Ints, size: int) -> Ints:
    """As `unsigned`, in two's complement."""
    value = unsigned(data, at, size)
    if size < 8:
        value[value >= 1 << (8 * size - 1)] -= 1 << (8 * size)
    return value


def _fits(value: Ints) -> Ints:
    return np.clip(value, -(1 << 31), (1 << 31) - 1)


_STEPS = (
    None,  # nop
    Machine._do_advance,
    Machine._do_offset,
    Machine._do_restore,
    Machine._do_advance_long,
    Machine._do_offset_extended,
    Machine._do_undefined,
    Machine._do_in_register,
    Machine._do_remember,
    Machine._do_restore_state,
    Machine._do_def_cfa,
    Machine._do_def_cfa_register,
    Machine._do_def_cfa_offset,
    Machine._do_def_cfa_expression,
    Machine._do_expression,
    Machine._do_val_offset,
    Machine._do_skip_argument,
    Machine._do_unknown,
)
_CLASS = np.full(256, _STEPS.index(Machine._do_unknown), np.int64)
_CLASS[0x40:0x80] = _STEPS.index(Machine._do_advance)
_CLASS[0x80:0xC0] = _STEPS.index(Machine._do_offset)
_CLASS[0xC0:] = _STEPS.index(Machine._do_restore)
for _step, _codes in (
    (None, (0x00, 0x2D)),
    (Machine._do_advance_long, (0x02, 0x03, 0x04)),
    (Machine._do_offset_extended, (0x05, 0x11, 0x2F)),
    (Machine._do_restore, (0x06,)),
    (Machine._do_undefined, (0x07, 0x08)),
    (Machine._do_in_register, (0x09,)),
    (Machine._do_remember, (0x0A,)),
    (Machine._do_restore_state, (0x0B,)),
    (Machine._do_def_cfa, (0x0C, 0x12)),
    (Machine._do_def_cfa_register, (0x0D,)),
    (Machine._do_def_cfa_offset, (0x0E, 0x13)),
    (Machine._do_def_cfa_expression, (0x0F,)),
    (Machine._do_expression, (0x10, 0x16)),
    (Machine._do_val_offset, (0x14, 0x15)),
    (Machine._do_skip_argument, (0x2E,)),
):
    for _code in _codes:
        _CLASS[_code] = _STEPS.index(_step)
