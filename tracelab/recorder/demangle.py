"""Names of functions as a programmer wrote them, from what C++ and Rust compilers make of them.

`__cxa_demangle` of the C++ runtime, which BCC is linked to as well, does the work for C++; Rust's newer scheme
has its own module. Names come from traced files, so that one which would expand beyond measure stays as it is.

Source: Itanium C++ ABI, 5.1; rustc_codegen_utils::symbol_names::legacy.
"""

from __future__ import annotations

import ctypes
import functools
import re

from tracelab.recorder.rustnames import demangle_v0

MAX_LENGTH = 2048  #: of a mangled name
MAX_EXPANSION = 100_000_000  #: bound on the length of a demangled name
_REPEAT = re.compile(r"([ST][0-9A-Z]*)_")  #: back references: to something before, to a template's argument
_RUST_HASH = re.compile(r"::h[0-9a-f]{16}$")
_RUST_ESCAPE = re.compile(r"\$(u[0-9a-f]{1,6}|[A-Z]{1,2})\$")
_RUST_SIGNS = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
_SPECIAL = re.compile(r"(non-virtual thunk|virtual thunk|covariant|guard variable|TLS|typeinfo|vtable|VTT)\b")
_TAIL = re.compile(r"( \[clone [^\]]*\]| const| volatile| noexcept| &&?)+$")
_OPERATOR = re.compile(r"(?:^|(?<=[\s:&*]))operator\b")


def demangle(symbol: str) -> str:
    """The qualified name of a function, without parameters and return type.

    What is not a mangled name, or cannot be understood, is given back as it is.

    >>> demangle("_ZN3foo3BarIiE2goEiRi.isra.0"), demangle("main")
    ('foo::Bar<int>::go', 'main')
    """
    if len(symbol) > MAX_LENGTH:
        return symbol
    if symbol.startswith("_R"):
        return demangle_v0(symbol) or symbol
    if not symbol.startswith("_Z") or _expansion(symbol) > MAX_EXPANSION:
        return symbol
    full = _cxa_demangle(symbol)
    if full is None:
        return symbol
    plain = _RUST_HASH.sub("", full)
    return (_rust_legacy(plain) if plain != full else function_name(full)) or symbol


def function_name(full: str) -> str:
    """The name in a demangled C++ declaration: what is called, without its parameters and its return type.

    >>> function_name("int ns::f<int>(int (*)(char)) const [clone .cold]")
    'ns::f<int>'
    """
    name = _TAIL.sub("", full)
    if _SPECIAL.match(name) or not name.endswith(")"):
        return name
    depth = 0
    for i in range(len(name) - 1, -1, -1):
        depth += (name[i] == ")") - (name[i] == "(")
        if not depth:
            break
    before = name[:i]
    if not before or before.endswith("operator"):
        return name
    return _without_return_type(before)


def _without_return_type(name: str) -> str:
    operators = list(_OPERATOR.finditer(name))
    end = operators[-1].start() if operators else len(name)
    depth = start = 0
    for i, letter in enumerate(name[:end]):
        if letter in "<([{":
            depth += 1
        elif letter in ")]}" or (letter == ">" and name[i - 1 : i] != "-"):
            depth -= 1
        elif letter == " " and not depth:
            start = i + 1
    return name if depth else name[start:]


def _expansion(symbol: str) -> int:
    """Bound on how long a name may get: each thing that is referred to back may double what refers to it."""
    times: dict[str, int] = {}
    for reference in _REPEAT.findall(symbol):
        times[reference] = times.get(reference, 0) + 1
    bound = len(symbol)
    for n in times.values():
        bound *= n + 1
    return bound


def _rust_legacy(name: str) -> str:
    name = _RUST_ESCAPE.sub(_rust_sign, re.sub(r"(^|::)_\$", r"\1$", name))
    return name.replace("..", "::")


def _rust_sign(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] != "u":
        return _RUST_SIGNS.get(code, escape[0])
    number = int(code[1:], 16)
    return chr(number) if 0x20 <= number < 0x110000 else escape[0]


def _cxa_demangle(symbol: str) -> str | None:
    found = _runtime()
    if found is None:
        return None
    runtime, libc = found
    status = ctypes.c_int()
    text = runtime.__cxa_demangle(symbol.encode("utf-8", "replace"), None, None, ctypes.byref(status))
    if not text:
        return None
    try:
        return ctypes.string_at(text).decode("utf-8", "replace")
    finally:
        libc.free(text)


@functools.cache
def _runtime() -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    for name in ("libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"):
        try:
            runtime = ctypes.CDLL(name)
            demangler = runtime.__cxa_demangle
        except (OSError, AttributeError):
            continue
        demangler.restype = ctypes.c_void_p
        demangler.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        libc = ctypes.CDLL(None)
        libc.free.argtypes = [ctypes.c_void_p]
        return runtime, libc
    return None
