"""Names of Rust functions, from the mangling that is called v0.

Source: https://doc.rust-lang.org/rustc/symbol-mangling/v0.html
"""

from __future__ import annotations

import re

MAX_DEPTH = 64
MAX_STEPS = 4096
_BASIC = dict(
    zip(
        "a b c d e f h i j l m n o p s t u v x y z".split(),
        "i8 bool char f64 str f32 u8 isize usize i32 u32 i128 u128 _ i16 u16 () ... i64 u64 !".split(),
        strict=True,
    )
)
_BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def demangle_v0(symbol: str) -> str | None:
    """The path of a function, with generic arguments and without hashes; None for what is no such name.

    >>> demangle_v0("_RNvCskwGfYPst2Cb_3foo16example_function")
    'foo::example_function'
    """
    match = re.match(r"_R(?=[A-Z])([A-Za-z0-9_]+)", symbol)
    if not match:
        return None
    try:
        return _Parser(match[1]).path()
    except (_NotRust, IndexError, ValueError, RecursionError):
        return None


class _NotRust(Exception):
    """The name does not follow the grammar, or would never end."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.steps = 0

    def next(self) -> str:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _NotRust
        self.at += 1
        return self.text[self.at - 1]

    def accept(self, letter: str) -> bool:
        if self.text[self.at : self.at + 1] != letter:
            return False
        self.next()
        return True

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _NotRust

    def base62(self) -> int:
        if self.accept("_"):
            return 0
        value = 0
        while (letter := self.next()) != "_":
            value = value * 62 + _BASE62.index(letter)
        return value + 1

    def back_reference(self, what: str) -> str:
        start, target = self.at - 1, self.base62()
        if target >= start:
            raise _NotRust
        after, self.at = self.at, target
        text: str = getattr(self, what)()
        self.at = after
        return text

    def identifier(self) -> str:
        if self.accept("s"):
            self.base62()
        punycode = self.accept("u")
        digits = self.next()
        while digits != "0" and self.text[self.at].isdigit():
            digits += self.next()
        size = int(digits)
        self.accept("_")
        name = self.text[self.at : self.at + size]
        if len(name) < size:
            raise _NotRust
        self.at += size
        if not punycode:
            return name
        plain, _, codes = name.rpartition("_")
        return f"{plain}-{codes}".lstrip("-").encode("ascii").decode("punycode")

    def path(self) -> str:
        self.deeper()
        kind = self.next()
        if kind == "C":
            text = self.identifier()
        elif kind == "N":
            namespace, parent, name = self.next(), self.path(), self.identifier()
            if namespace.isupper():
                name = f"{{{'closure' if namespace == 'C' else 'shim'}{':' + name if name else ''}}}"
            text = f"{parent}::{name}" if name else parent
        elif kind in "MX":
            if self.accept("s"):
                self.base62()
            self.path()
            text = f"<{self.type()}{' as ' + self.path() if kind == 'X' else ''}>"
        elif kind == "Y":
            text = f"<{self.type()} as {self.path()}>"
        elif kind == "I":
            text = f"{self.path()}<{', '.join(self.until_end(self.generic))}>"
        elif kind == "B":
            text = self.back_reference("path")
        else:
            raise _NotRust
        self.depth -= 1
        return text

    def until_end(self, part: object) -> list[str]:
        found = []
        while not self.accept("E"):
            found.append(part())  # type: ignore[operator]
        return found

    def generic(self) -> str:
        if self.accept("L"):
            self.base62()
            return "'_"
        return self.const() if self.accept("K") else self.type()

    def type(self) -> str:
        self.deeper()
        kind = self.next()
        if kind in _BASIC:
            text = _BASIC[kind]
        elif kind in "RQ":
            if self.accept("L"):
                self.base62()
            text = ("&" if kind == "R" else "&mut ") + self.type()
        elif kind in "PO":
            text = ("*const " if kind == "P" else "*mut ") + self.type()
        elif kind == "A":
            text = f"[{self.type()}; {self.const()}]"
        elif kind == "S":
            text = f"[{self.type()}]"
        elif kind == "T":
            text = f"({', '.join(self.until_end(self.type))})"
        elif kind == "F":
            text = self.function()
        elif kind == "D":
            self.binder()
            text = "dyn " + " + ".join(self.until_end(self.dyn_trait))
            if self.accept("L"):
                self.base62()
        elif kind == "B":
            text = self.back_reference("type")
        else:
            self.at -= 1
            text = self.path()
        self.depth -= 1
        return text

    def binder(self) -> None:
        if self.accept("G"):
            self.base62()

    def function(self) -> str:
        self.binder()
        self.accept("U")
        if self.accept("K") and not self.accept("C"):
            self.identifier()
        parameters = ", ".join(self.until_end(self.type))
        result = self.type()
        return f"fn({parameters})" + (f" -> {result}" if result != "()" else "")

    def dyn_trait(self) -> str:
        text = self.path()
        while self.accept("p"):
            self.identifier()
            self.type()
        return text

    def const(self) -> str:
        self.deeper()
        if self.accept("p"):
            text = "_"
        elif self.accept("B"):
            text = self.back_reference("const")
        else:
            kind = self.next()
            sign = "-" if self.accept("n") else ""
            digits = ""
            while (letter := self.next()) != "_":
                digits += letter
            number = int(digits or "0", 16)
            text = {"b": str(bool(number)).lower(), "c": repr(chr(min(number, 0x10FFFF)))}.get(
                kind, f"{sign}{number}"
            )
        self.depth -= 1
        return text
