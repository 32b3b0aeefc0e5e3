"""One call frame program: where the caller's registers are, for each address of one function.

What `callframes` does for all functions of a file at once, this does for the one that a sample hit. They agree.

Source: DWARF 5 section 6.4.2.
"""

from __future__ import annotations

from tracelab.recorder import callframes as cf

Rule = tuple[int, ...]  #: columns of callframes
_TRACKED = {cf.RIP: cf.RA_KIND, cf.RBP: cf.RBP_KIND, cf.RBX: cf.RBX_KIND}
_MOST, _LEAST = (1 << 31) - 1, -(1 << 31)
_MAX_STEPS = 1 << 16
_ADVANCES = {0x02: 1, 0x03: 2, 0x04: 4}


class BadProgram(ValueError):
    """The program ends in the middle, or says what is not understood."""


def run(program: bytes, cie: cf.Cie, start: int, limit: int) -> list[tuple[int, Rule]]:
    """Rows of a function from `start` to `limit`: each holds up to the next. Raises BadProgram."""
    state = list(cie.initial)
    saved: list[list[int]] = []
    rows: list[tuple[int, Rule]] = []
    at, address = 0, start
    for _ in range(_MAX_STEPS):
        if at >= len(program):
            break
        op, at = program[at], at + 1
        kind, low = op & 0xC0, op & 0x3F
        if kind == 0x40:
            _emit(rows, address, state)
            address += low * cie.code_align
        elif kind == 0x80:
            offset, at = _uleb(program, at)
            _set(state, low, cf.AT_CFA, offset * cie.data_align)
        elif kind == 0xC0:
            _restore(state, low, cie)
        elif op in _ADVANCES:
            _emit(rows, address, state)
            size = _ADVANCES[op]
            address += int.from_bytes(program[at : at + size], "little") * cie.code_align
            at += size
        elif op == 0x0A:
            if len(saved) >= cf.MAX_STATES:
                raise BadProgram("too many remembered states")
            saved.append(list(state))
        elif op == 0x0B:
            if not saved:
                raise BadProgram("a state that was never remembered")
            state = saved.pop()
        else:
            at = _rare(program, at, op, state, cie)
        if at > len(program):
            raise BadProgram("cut short")
    _emit(rows, address, state)
    return [(a, rule) for a, rule in rows if start <= a < limit]


def _emit(rows: list[tuple[int, Rule]], address: int, state: list[int]) -> None:
    if rows and rows[-1][0] == address:
        rows.pop()
    rows.append((address, tuple(state)))


def _rare(program: bytes, at: int, op: int, state: list[int], cie: cf.Cie) -> int:
    """All other instructions; returns where the next begins."""
    if op in (0x00, 0x2D):
        return at
    if op in (0x0C, 0x12, 0x0D):
        register, at = _uleb(program, at)
        if register > cf.RIP:
            raise BadProgram(f"register {register}")
        state[cf.CFA_KIND], state[cf.CFA_REG], state[cf.CFA_ADD] = cf.REGISTER, register, 0
        if op == 0x0D:
            return at
    if op in (0x0C, 0x0E):
        offset, at = _uleb(program, at)
        state[cf.CFA_OFFSET] = _fits(offset)
    elif op in (0x12, 0x13):
        offset, at = _sleb(program, at)
        state[cf.CFA_OFFSET] = _fits(offset * cie.data_align)
    elif op in (0x05, 0x11, 0x2F):
        register, at = _uleb(program, at)
        offset, at = _sleb(program, at) if op == 0x11 else _uleb(program, at)
        _set(state, register, cf.AT_CFA, (-offset if op == 0x2F else offset) * cie.data_align)
    elif op == 0x06:
        register, at = _uleb(program, at)
        _restore(state, register, cie)
    elif op in (0x07, 0x08):
        register, at = _uleb(program, at)
        _set(state, register, cf.UNDEFINED if op == 0x07 else cf.SAME, 0)
    elif op == 0x09:
        register, at = _uleb(program, at)
        other, at = _uleb(program, at)
        _set(state, register, cf.IN_REGISTER, other)
    elif op == 0x0F:
        expression, at = _block(program, at)
        state[cf.CFA_KIND : cf.CFA_ADD + 1] = cf.cfa_of_expression(expression)
    elif op in (0x10, 0x16):
        register, at = _uleb(program, at)
        expression, at = _block(program, at)
        saved, offset = cf.saved_by_expression(expression)
        _set(state, register, cf.UNSUPPORTED if op == 0x16 else saved, offset)
    elif op in (0x14, 0x15):
        register, at = _uleb(program, at)
        _, at = _uleb(program, at)
        _set(state, register, cf.UNSUPPORTED, 0)
    elif op == 0x2E:
        _, at = _uleb(program, at)
    else:
        raise BadProgram(f"instruction {op:#x}")
    return at


def _set(state: list[int], register: int, kind: int, offset: int) -> None:
    slot = _TRACKED.get(register)
    if slot is not None:
        state[slot], state[slot + 1] = kind, _fits(offset)


def _restore(state: list[int], register: int, cie: cf.Cie) -> None:
    slot = _TRACKED.get(register)
    if slot is not None:
        state[slot : slot + 2] = cie.initial[slot : slot + 2]


def _fits(value: int) -> int:
    return max(_LEAST, min(_MOST, value))


def _block(program: bytes, at: int) -> tuple[bytes, int]:
    size, at = _uleb(program, at)
    return program[at : at + min(size, 32)], at + size


def _uleb(program: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(program):
        byte = program[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 63:
            return value & (1 << 63) - 1, at
    raise BadProgram("cut short")


def _sleb(program: bytes, at: int) -> tuple[int, int]:
    value, after = _uleb(program, at)
    bits = 7 * (after - at)
    return (value - (1 << bits) if bits < 63 and value >> (bits - 1) & 1 else value), after
