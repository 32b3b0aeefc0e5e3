"""From registers and a copy of the stack to the addresses of all callers, for all samples of a batch together.

Every step looks up the program counters of all samples in their address spaces, then in the unwind tables of
the files found there, and reads the next ones from the copied stacks; the samples go up in lockstep until none
is left. Code without unwind information (JITs, some assembly, Go) is taken to keep frame pointers.

Source: System V ABI, AMD64 supplement, 3.2.2 (frame pointers), 3.7 (unwinding); arch/x86 struct sigcontext_64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.recorder import callframes as cf
from tracelab.recorder.maps import U64, AddressSpaces, Ints, View
from tracelab.recorder.unwindtables import UnwindTables

COMPLETE = "complete"
TOO_SHORT = "stack copy too short"
OFF_STACK = "left the copied stack"
UNMAPPED = "left mapped code"
TOO_DEEP = "depth limit"
NO_MAPS = "mappings unknown"
NO_STACK = "no user stack"
NO_INFO = "no unwind info: "  #: and the name of the module
SWITCHED = "stack switched: "  #: and the name of the module, whose code runs on a stack of its own there
NO_FRAME_POINTERS = "JIT code without frame pointers"
COMPAT = "32-bit code"

MAX_FRAMES = 1024
MAX_STACK_BYTES = 8 << 20  #: what is further from the stack pointer is taken to be no stack
PAGE = 4096
START_BYTES = 64  #: of _start, which is assembly and always shorter
COMPAT_CS = 0x23
#: Registers by DWARF number, as positions in the kernel's struct pt_regs.
PT_REGS = (10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16)
CS = 17
#: Offsets from the stack pointer at the return from a signal handler, by DWARF number.
SIGNAL_FRAME = (144, 136, 152, 128, 112, 104, 120, 160, 40, 48, 56, 64, 72, 80, 88, 96, 168)
_SIGNAL_CFA = (cf.MEMORY, cf.RSP, SIGNAL_FRAME[cf.RSP], 0)
_ALL_BITS = (1 << 64) - 1
_ZERO, _ONE, _THREE, _SEVEN = (np.uint64(n) for n in (0, 1, 3, 7))

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Unwound:
    """User stacks of a batch, leaf first. `count[i]` entries of row i are valid."""

    view: View  #: where everything was mapped
    count: Ints  #: shape (samples,)
    mapping: npt.NDArray[np.int32]  #: shape (samples, deepest), index into view.mappings; -1: nowhere
    address: U64  #: same shape; of the instruction, or for a caller of the last byte of its call
    status: npt.NDArray[np.object_]  #: shape (samples,), COMPLETE or the reason why it is not


class Unwinder:
    """Unwinds user stacks, and tells the address spaces whose stacks proved longer than their copies."""

    def __init__(self, spaces: AddressSpaces, tables: UnwindTables | None = None) -> None:
        self.spaces = spaces
        self.tables = tables or UnwindTables(spaces.images)

    def unwind(self, records: npt.NDArray[np.void]) -> Unwound:
        """The user stacks of samples.

        `records` is a structured array with fields time_ns, pid, user_ok, stack_bytes, regs (21 64-bit words,
        struct pt_regs) and stack (bytes from the stack pointer upwards). Kernel threads, which have no user
        registers, are complete with no frames. Nothing is raised for whatever the samples hold.
        """
        view = self.spaces.view(records["pid"], records["time_ns"])
        climb = _Climb(records, view, self.tables)
        climb.run()
        short = climb.status == TOO_SHORT
        if short.any():
            for pid in np.unique(records["pid"][short]).tolist():
                self.spaces.deepen(pid)
            climb.status[short] = too_short(records["stack"].shape[1])
        return climb.result()


def too_short(copy_bytes: int) -> str:
    """The reason why a stack is incomplete of which no more than `copy_bytes` are copied."""
    return f"{TOO_SHORT} ({copy_bytes >> 10} KiB)"


class _Live:
    """Samples that go on: their numbers, and the registers of the frame that each is in."""

    def __init__(self, who: Ints, space: U64, regs: U64, bottom: U64, size: U64) -> None:
        self.who = who
        self.space = space
        self.pc = regs[:, cf.RIP]
        self.sp = regs[:, cf.RSP]
        self.rbp = regs[:, cf.RBP]
        self.rbx = regs[:, cf.RBX]
        self.back: U64 = np.zeros(len(who), np.uint64)  #: 1 where the pc is a return address
        self.innermost = np.ones(len(who), np.bool_)  #: all registers are known, as at a leaf
        self.guessed = np.full(len(who), -1, np.int64)  #: mapping that was left by its frame pointer
        self.bottom = bottom
        self.size = size

    def keep(self, mask: Bools) -> None:
        """Go on with some of them."""
        for name, column in vars(self).items():
            setattr(self, name, column[mask])


class _Climb:
    """One batch on its way up."""

    def __init__(self, records: npt.NDArray[np.void], view: View, tables: UnwindTables) -> None:
        self.view = view
        self.rules = tables.of_view(view)
        self.tables = tables
        self.regs: U64 = np.ascontiguousarray(records["regs"][:, PT_REGS]).astype(np.uint64)
        self.status = np.full(len(records), COMPLETE, dtype=object)
        self.stack: U64 = records["stack"].view(np.uint64)
        self.size = np.minimum(records["stack_bytes"], records["stack"].shape[1]).astype(np.uint64)
        self.levels: list[tuple[Ints, Ints, U64]] = []  #: samples, mappings and addresses of each step
        user = records["user_ok"] != 0
        stops = np.zeros(len(records), np.bool_)
        for mask, why in (
            (self.size < 8, NO_STACK),
            (records["regs"][:, CS] == COMPAT_CS, COMPAT),
            (~view.known, NO_MAPS),
        ):
            self.status[user & mask] = why
            stops |= user & mask
        who = np.flatnonzero(user)
        self.live = _Live(who, view.space[who], self.regs[who], self.regs[who, cf.RSP], self.size[who])
        if stops.any():
            pc = self.regs[stops, cf.RIP]
            self.levels.append((np.flatnonzero(stops), view.find(view.space[stops], pc), pc))
            self.live.keep(~stops[who])

    def run(self) -> None:
        """Climb until every sample has ended."""
        live = self.live
        for _ in range(MAX_FRAMES):
            mapping, address = self._locate()
            if not live.who.size:
                return
            rule = self.rules.rule_at(mapping, address)
            going = self._up_by_plain_rules(rule, mapping)
            if not going.all():
                going = self._up_otherwise(rule, mapping, going)
                if not going.all():
                    live.keep(going)
        self.status[live.who] = TOO_DEEP

    def result(self) -> Unwound:
        """What was found."""
        count = np.zeros(len(self.status), np.int64)
        for who, _, _ in self.levels:
            count[who] += 1
        mapping = np.full((len(count), int(count.max(initial=0))), -1, np.int32)
        address = np.zeros(mapping.shape, np.uint64)
        at = np.zeros(len(count), np.int64)
        for who, where, pc in self.levels:
            mapping[who, at[who]] = where
            address[who, at[who]] = pc
            at[who] += 1
        return Unwound(self.view, count, mapping, address, self.status)

    def _locate(self) -> tuple[Ints, U64]:
        """Mappings and addresses of the samples' code; those whose code is nowhere end here.

        A call may be the last instruction of its function, so that the return address is in the next one.
        """
        live = self.live
        address = live.pc - live.back
        mapping = self.view.find(live.space, address)
        if mapping.size and mapping.min() < 0:
            nowhere = mapping < 0
            reason = np.full(int(nowhere.sum()), UNMAPPED, dtype=object)
            guessed = live.guessed[nowhere]
            reason[guessed >= 0] = [self._no_info(m) for m in guessed[guessed >= 0]]
            ended = (live.pc[nowhere] == 0) & ~live.innermost[nowhere]
            reason[ended & (reason != NO_FRAME_POINTERS)] = COMPLETE
            self.status[live.who[nowhere]] = reason
            leaves = nowhere & live.innermost
            self.levels.append((live.who[leaves], mapping[leaves], address[leaves]))
            live.keep(~nowhere)
            mapping, address = mapping[~nowhere], address[~nowhere]
        self.levels.append((live.who, mapping, address))
        return mapping, address

    def _no_info(self, mapping: int) -> str:
        image = self.view.mappings[mapping].image
        return NO_FRAME_POINTERS if image.is_jit else NO_INFO + image.short_name

    def _up_by_plain_rules(self, rule: Ints, mapping: Ints) -> Bools:
        """One frame up for the samples whose rules are plain and whose stacks have what these need: True for them.

        Rule 0, of code without unwind information, is that there is a frame pointer.
        """
        live, tables = self.live, self.tables
        cfa = np.where(tables.by_rbp[rule], live.rbp, live.sp) + tables.cfa_offset[rule]
        value, there = self._words(live.who, cfa + tables.saved_at[:, rule] - live.bottom, live.size)
        up: Bools = tables.plain[rule] & there[0] & (cfa > live.sp)
        there &= tables.saves[:, rule] & up
        live.pc = np.where(up, value[0], live.pc)
        live.sp = np.where(up, cfa, live.sp)
        live.rbp = np.where(there[1], value[1], live.rbp)
        live.rbx = np.where(there[2], value[2], live.rbx)
        live.back = np.where(up, _ONE, live.back)
        live.innermost &= ~up
        live.guessed = np.where(up, np.where(rule == 0, mapping, -1), live.guessed)
        return up

    def _words(self, who: Ints, offset: U64, size: U64) -> tuple[U64, Bools]:
        """Words of the copied stacks at offsets from their bottoms, and whether they are there."""
        there: Bools = offset <= size - np.uint64(8)  # what is below is a very large offset
        offset = np.where(there, offset, _ZERO)
        word = (offset >> _THREE).astype(np.int64)
        value: U64 = self.stack[who, word]
        odd = (offset & _SEVEN) << _THREE
        if odd.any():
            high = self.stack[who, np.minimum(word + 1, self.stack.shape[1] - 1)]
            joined = (value >> odd) | (high << ((np.uint64(64) - odd) & np.uint64(63)))
            value = np.where(odd != 0, joined, value)
        return value, there

    def _up_otherwise(self, rule: Ints, mapping: Ints, going: Bools) -> Bools:
        """One frame up for the samples that are not `going` yet; returns which of all go on.

        Outermost frames end here, complete; what is left is rare, and is done one by one.
        """
        going = going.copy()
        for i in np.flatnonzero(~going & ~self.tables.outermost[rule]).tolist():
            if rule[i] == 0:
                why = self._without_frame_pointer(i, int(mapping[i]))
            else:
                why = self._up_by_rule(i, self.tables.rules[rule[i]].tolist(), int(mapping[i]))
            if why:
                self.status[self.live.who[i]] = why
            else:
                going[i] = True
        return going

    def _up_by_rule(self, i: int, rule: list[int], mapping: int) -> str:
        """One frame up by any rule; the reason why not, or nothing."""
        live = self.live
        register, offset = rule[cf.CFA_REG], rule[cf.CFA_OFFSET]
        known = {cf.RSP: int(live.sp[i]), cf.RBP: int(live.rbp[i]), cf.RBX: int(live.rbx[i])}
        if live.innermost[i]:
            known = dict(enumerate(self.regs[live.who[i]].tolist())) | known
        if rule[cf.CFA_KIND] == cf.SWITCHED:
            return self._up_to_another_stack(i, mapping)
        if rule[cf.CFA_KIND] == cf.UNKNOWN or register not in known:
            return self._no_info(mapping)
        cfa: int | None = known[register] + offset
        if rule[cf.CFA_KIND] == cf.PLT:
            cfa = known[register] + offset + (8 if int(live.pc[i]) % 16 >= rule[cf.CFA_ADD] else 0)
        elif rule[cf.CFA_KIND] == cf.MEMORY:
            if tuple(rule[: cf.CFA_ADD + 1]) == _SIGNAL_CFA and rule[cf.SIGNAL]:
                self.levels[-1][2][i] += live.back[i]  # returned to, but by no call
                return self._up_through_signal(i, known[register])
            place = known[register] + offset
            cfa = self._word(i, place)
            if cfa is None:
                return self._unreadable(i, place)
            cfa += rule[cf.CFA_ADD]
        assert cfa is not None
        kind, where = rule[cf.RA_KIND], rule[cf.RA_OFFSET]
        if kind == cf.IN_REGISTER and where in known:
            ra: int | None = known[where]
        elif kind in (cf.AT_CFA, cf.AT_RBP, cf.AT_RSP) and cfa > known[cf.RSP]:
            place = {cf.AT_CFA: cfa, cf.AT_RBP: known[cf.RBP], cf.AT_RSP: known[cf.RSP]}[kind] + where
            ra = self._word(i, place)
            if ra is None:
                return self._unreadable(i, place)
        else:
            return OFF_STACK if kind == cf.AT_CFA else self._no_info(mapping)
        self._go(
            i, ra or 0, cfa, self._saved(i, cfa, rule, cf.RBP_KIND), self._saved(i, cfa, rule, cf.RBX_KIND)
        )
        live.back[i] = not rule[cf.SIGNAL]
        return ""

    def _saved(self, i: int, cfa: int, rule: list[int], kind: int) -> int:
        """The caller's rbp or rbx.

        What was saved below the stack pointer has been restored: the rule is a relic.
        """
        live = self.live
        base = {cf.AT_CFA: cfa, cf.AT_RBP: int(live.rbp[i]), cf.AT_RSP: int(live.sp[i])}.get(rule[kind])
        found = None if base is None else self._word(i, base + rule[kind + 1])
        return int((live.rbp if kind == cf.RBP_KIND else live.rbx)[i]) if found is None else found

    def _without_frame_pointer(self, i: int, mapping: int) -> str:
        """Why nothing is known of a caller; in an outermost frame rbp is 0, as it may be in any that does without."""
        rbp, live = int(self.live.rbp[i]), self.live
        may_do_without = self.view.mappings[mapping].image.is_jit and live.guessed[i] < 0
        if rbp == 0 and not may_do_without and (not live.innermost[i] or self._at_the_beginning(i, mapping)):
            return COMPLETE
        full = int(self.live.size[i]) + PAGE > self.stack.shape[1] * 8  # else rbp hardly points to the stack
        return TOO_SHORT if full and self._unreadable(i, rbp + 8) == TOO_SHORT else self._no_info(mapping)

    def _at_the_beginning(self, i: int, mapping: int) -> bool:
        """Whether a sample is in the first instructions of its program; those of the dynamic linker have no CFI."""
        image = self.view.mappings[mapping].image
        relative = int(self.live.pc[i]) - self.view.mappings[mapping].base
        return image.elf is not None and 0 <= relative - image.elf.entry < START_BYTES

    def _up_to_another_stack(self, i: int, mapping: int) -> str:
        """Up by the frame pointer, which may lead to another stack, of which there is no copy."""
        rbp = int(self.live.rbp[i])
        pc, saved = self._word(i, rbp + 8), self._word(i, rbp)
        if pc is None or saved is None or rbp + 16 <= int(self.live.sp[i]):
            return COMPLETE if rbp == 0 else SWITCHED + self.view.mappings[mapping].image.short_name
        self._go(i, pc, rbp + 16, saved, int(self.live.rbx[i]))
        return ""

    def _up_through_signal(self, i: int, sp: int) -> str:
        """To the code that a signal interrupted, with all its registers."""
        live = self.live
        for register, offset in enumerate(SIGNAL_FRAME):
            word = self._word(i, sp + offset)
            if word is None:
                return self._unreadable(i, sp + offset)
            self.regs[live.who[i], register] = word
        self._go(i, *(int(self.regs[live.who[i], r]) for r in (cf.RIP, cf.RSP, cf.RBP, cf.RBX)))
        live.back[i], live.innermost[i] = 0, True
        return ""

    def _go(self, i: int, pc: int, sp: int, rbp: int, rbx: int) -> None:
        live = self.live
        for column, value in ((live.pc, pc), (live.sp, sp), (live.rbp, rbp), (live.rbx, rbx)):
            column[i] = value & _ALL_BITS
        live.back[i], live.innermost[i], live.guessed[i] = 1, False, -1

    def _word(self, i: int, address: int) -> int | None:
        offset = address - int(self.live.bottom[i])
        if not 0 <= offset <= int(self.live.size[i]) - 8:
            return None
        one = np.array([offset], np.uint64)
        value, _ = self._words(self.live.who[i : i + 1], one, self.live.size[i : i + 1])
        return int(value[0])

    def _unreadable(self, i: int, address: int) -> str:
        """Why a word could not be read: the stack is longer than its copy, or the address is not on it.

        A copy can also end early, at a page of the stack that was never touched.
        """
        offset = address - int(self.live.bottom[i])
        return TOO_SHORT if int(self.live.size[i]) - 8 < offset < MAX_STACK_BYTES else OFF_STACK
