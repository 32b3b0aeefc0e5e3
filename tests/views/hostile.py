"""Texts that a traced machine may well carry, and a page or terminal must not obey."""

from __future__ import annotations

from tracelab.profile import Frame, Profile

SCRIPT = "</script><img src=x onerror=\"document.title='owned'\">"
TEXTS = (
    SCRIPT,
    "<svg onload=\"document.title='owned'\">",
    "'\"><script>document.title='owned'</script>",
    "--><!-- ]]> &lt;b&gt; \\u003cimg\\u003e ${alert(1)} `x`",
    "operator<<(std::ostream&, std::vector<std::string> const&)",
    "\x1b]0;owned\x07\x1b[2J\x00",
    "\u202egnp.exe\u2066",
    "\udcff\udc80 not utf-8",
    "名前 😀 e\u0301",
)
#: those that a pandas column can hold
STORABLE = tuple(text for text in TEXTS if not any("\ud800" <= c <= "\udfff" for c in text))


def profile() -> Profile:
    """A profile whose every text is one of TEXTS; each is a frame of its own below the first."""
    frames = [Frame(t, module=t, file=t, line=3, domain="user") for t in TEXTS]
    stacks = [((frames[0], frame), 10 + i) for i, frame in enumerate(frames)]
    return Profile.from_stacks(stacks, name=SCRIPT, quantity=SCRIPT, unit="samples").renamed(SCRIPT, *TEXTS)
