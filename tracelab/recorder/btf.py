"""Where the running kernel keeps the members of its structs, from its own type information (BTF).

Probes that read kernel structs name the members in their front matter; nothing about their layout is assumed.
Format: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_STRUCT, _UNION, _TYPEDEF, _CONST, _VOLATILE, _RESTRICT, _TYPE_TAG = 4, 5, 8, 10, 9, 11, 18
_FUNC_PROTO, _PTR, _ENUM, _ENUM64 = 13, 2, 6, 19
#: bytes that follow the 12 of each type, by kind: fixed, and per element
_EXTRA = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12)}
_EXTRA |= {17: (4, 0), 19: (0, 12)}


class NoSuchMember(LookupError):
    """The kernel has no such struct or member."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member lies, in bytes from the start of the outermost struct."""

    offset: int
    size: int  #: 0 when the type has none of its own


class Btf:
    """The types of one kernel; raises ValueError for what is not BTF."""

    def __init__(self, data: bytes) -> None:
        magic, _, _, header, type_at, type_bytes, text_at, text_bytes = struct.unpack_from("<HBBIIIII", data)
        if magic != 0xEB9F:
            raise ValueError("not BTF: it begins with another magic number")
        self._types = data[header + type_at : header + type_at + type_bytes]
        self._text = data[header + text_at : header + text_at + text_bytes]
        self._at = _type_offsets(self._types)
        self._by_name: dict[str, list[int]] = {}

    def member(self, path: str) -> Member:
        """The place of `task_struct.se.exec_start`; anonymous structs and unions need not be named.

        Raises NoSuchMember.
        """
        name, *parts = path.split(".")
        number = self._struct(name)
        offset = 0
        for part in parts:
            found = self._find(number, part)
            if found is None:
                raise NoSuchMember(f"this kernel's struct {name} has no member {'.'.join(parts)}")
            bits, number = found
            if bits % 8:
                raise NoSuchMember(f"{path} is a bit field of this kernel")
            offset += bits // 8
        return Member(offset, self._size(number))

    def tracepoint(self, name: str) -> tuple[str, ...]:
        """Names of the structs that a raw tracepoint's arguments point to, "" for any other argument.

        Raises NoSuchMember when the kernel has no such tracepoint.
        """
        for number in self._numbers(f"btf_trace_{name}"):
            kind, _, target = self._type(number)
            if kind != _TYPEDEF:
                continue
            proto = self._type(target)[2]  # typedef -> pointer -> prototype
            at = self._at[proto]
            count = struct.unpack_from("<I", self._types, at + 4)[0] & 0xFFFF
            parameters = [struct.unpack_from("<II", self._types, at + 12 + 8 * i)[1] for i in range(count)]
            return tuple(self._pointee(p) for p in parameters[1:])  # the first is the probe's own data
        raise NoSuchMember(f"this kernel has no raw tracepoint {name}")

    def _pointee(self, number: int) -> str:
        kind, _, target = self._type(self._resolve(number))
        if kind != _PTR:
            return ""
        number = self._resolve(target)
        return self._name(number) if self._type(number)[0] in (_STRUCT, _UNION) else ""

    def _struct(self, name: str) -> int:
        for number in self._numbers(name):
            if self._type(number)[0] in (_STRUCT, _UNION):
                return number
        raise NoSuchMember(f"this kernel has no struct {name}")

    def _find(self, number: int, member: str) -> tuple[int, int] | None:
        """Bit offset and type of a member, also inside anonymous ones."""
        number = self._resolve(number)
        kind, info, _ = self._type(number)
        if kind not in (_STRUCT, _UNION):
            return None
        at = self._at[number]
        for i in range(info & 0xFFFF):
            name, target, bits = struct.unpack_from("<III", self._types, at + 12 + 12 * i)
            bits &= 0xFFFFFF if info >> 31 else 0xFFFFFFFF
            if name and self._string(name) == member:
                return bits, target
            if not name and (inner := self._find(target, member)):
                return bits + inner[0], inner[1]
        return None

    def _resolve(self, number: int) -> int:
        """Through typedefs and qualifiers."""
        while (found := self._type(number))[0] in (_TYPEDEF, _CONST, _VOLATILE, _RESTRICT, _TYPE_TAG):
            number = found[2]
        return number

    def _size(self, number: int) -> int:
        kind, _, size = self._type(self._resolve(number))
        return 8 if kind == _PTR else size if kind in (1, _STRUCT, _UNION, _ENUM, _ENUM64) else 0

    def _numbers(self, name: str) -> list[int]:
        """Every type of that name."""
        wanted = b"\0" + name.encode() + b"\0"
        at = self._text.find(wanted)
        names = self._names()
        found: list[int] = []
        while at >= 0:
            found += np.flatnonzero(names == at + 1).tolist()
            at = self._text.find(wanted, at + 1)
        return found

    def _names(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        words = np.frombuffer(self._types, "<u4")
        at = np.array(self._at, np.int64) // 4
        return words[at]

    def _type(self, number: int) -> tuple[int, int, int]:
        """Kind, info, and size or type it refers to."""
        _, info, size = struct.unpack_from("<III", self._types, self._at[number])
        return (info >> 24) & 0x1F, info, size

    def _name(self, number: int) -> str:
        return self._string(struct.unpack_from("<I", self._types, self._at[number])[0])

    def _string(self, at: int) -> str:
        return self._text[at : self._text.index(b"\0", at)].decode()


def _type_offsets(types: bytes) -> list[int]:
    """Where each type begins; type 0, which is void, is given the place of type 1."""
    found, at, end = [0], 0, len(types)
    info = struct.Struct("<I")
    while at < end:
        found.append(at)
        word = info.unpack_from(types, at + 4)[0]
        fixed, each = _EXTRA.get((word >> 24) & 0x1F, (0, 0))
        at += 12 + fixed + each * (word & 0xFFFF)
    return found


@cache
def running() -> Btf:
    """The types of the running kernel; raises OSError where it does not show them."""
    return Btf(VMLINUX.read_bytes())
