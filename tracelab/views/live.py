"""A drawn view with a kernel behind it: it answers what its script asks, and what a person sets is told to Python.

The script is the one of the saved page (saved.py); basis.js tells what it can rely on. In a notebook a live view puts
two outputs below its cell: a widget, and its saved form, which hides while the widget lives. So the cell is the same
in a running notebook, in one that was opened again without its kernel, and in an exported page.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tracelab.views.saved import DrawnView, asset, script_of

Answer: TypeAlias = "tuple[Mapping[str, Any], bytes]"  #: JSON, and one buffer
State: TypeAlias = "dict[str, Any]"

# The widget's output is hidden until it is drawn: without kernel it would say that its model is not found, or wait
# for ever. The names are those of JupyterLab, and of the older pages that nbconvert makes; some are CSS tables, which
# have no height of zero.
_EITHER = """<style>
body:has(#{key}) .{key} {{ display: none }}
:is(.jp-OutputArea-child, .output_area):not(:has(#{key})):has(+ * .{key}) {{ position: absolute; visibility: hidden }}
</style>"""


_FORMS = ("text/plain", "image/svg+xml")  #: of the saved form, where there is no HTML


class LiveView(DrawnView):
    """A drawn view that answers questions of its script and keeps a state that both sides can change."""

    modules: tuple[str, ...] = ()  #: scripts beside the views that this one is made of; the last one draws
    style: str = ""  #: its style sheet

    def stylesheet(self) -> str:
        """Its style."""
        return asset(self.style)

    def first(self) -> Answer:
        """What the script is given to begin with."""
        raise NotImplementedError

    def answer(self, ask: Mapping[str, Any]) -> Answer:
        """What the script asked for. An error is shown in the view, in its own words."""
        raise NotImplementedError(f"{type(self).__name__} answers no questions")

    @functools.cached_property
    def _live(self) -> _Live:
        return _Live(self)

    @property
    def state(self) -> State:
        """What a person has set, or Python: plain JSON, the keys are those of the script. It can be assigned."""
        return dict(self._live.state)

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self._live.set(dict(state))

    def on_state(self, tell: Callable[[State], None]) -> None:
        """Have `tell` called with the new state whenever it has changed, from whichever side."""
        self._live.observers.append(tell)

    def changed(self) -> None:
        """Tell the script that there is something new to begin with: it will ask for `first` again."""
        if self._live.widget is not None:
            self._live.widget.send({"changed": True})

    def widget(self) -> Any:
        """The view as a widget (anywidget), to be put into a layout or observed; the same one at each call."""
        if self._live.widget is None:
            self._live.widget = _widget_class(self.modules, self.stylesheet())(self._live)
        return self._live.widget

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        if _kernel():
            widget = self.widget()
            key = widget.key
            view = widget._repr_mimebundle_()
            if view:
                view_type = "application/vnd.jupyter.widget-view+json"
                display({view_type: view[0][view_type], "text/plain": ""}, raw=True)
                saved = f"{_EITHER.format(key=key)}<div class='{key}'>{bundle['text/html']}</div>"
                # No other form: a front end that knows a better one would show it beside the widget.
                bundle = {"text/html": saved} | {k: v for k, v in bundle.items() if k in _FORMS}
        display(bundle, raw=True)


class _Live:
    """The state of a view, and the widget that shows it, if there is one."""

    def __init__(self, view: LiveView) -> None:
        self.view = view
        self.state: State = {}
        self.widget: Any = None
        self.observers: list[Callable[[State], None]] = []

    def set(self, state: State) -> None:
        """Take a state over, tell those who asked for it, and the widget if it has not told us."""
        if state == self.state:
            return
        self.state = state
        if self.widget is not None and self.widget.state != state:
            self.widget.state = state
        for tell in self.observers:
            tell(dict(state))

    def answer(self, ask: Any) -> Answer:
        return self.view.first() if ask == "first" else self.view.answer(ask)


def _kernel() -> bool:
    """Whether this is a notebook's kernel, which a widget can talk to."""
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


@functools.cache
def _widget_class(modules: tuple[str, ...], stylesheet: str) -> Any:
    import anywidget
    import traitlets

    class LiveWidget(anywidget.AnyWidget):
        """A live view: its state is a trait, everything else is asked for."""

        _esm = script_of(modules, "live.js")
        _css = stylesheet
        state = traitlets.Dict(help="what a person has set").tag(sync=True)
        key = traitlets.Unicode(help="id of its elements, in however many cells, once they are drawn").tag(sync=True)

        def __init__(self, live: _Live) -> None:
            super().__init__(state=live.state, key=f"tl-{uuid.uuid4().hex[:12]}")
            self._view = live
            self.on_msg(self._asked)
            self.observe(lambda change: live.set(dict(change["new"])), "state")

        def _asked(self, _: Any, content: Mapping[str, Any], buffers: object) -> None:
            seq = content["seq"]
            try:
                meta, data = self._view.answer(content["ask"])
            except Exception as error:  # somebody waits for an answer
                self.send({"seq": seq, "error": str(error) or type(error).__name__})
            else:
                self.send({"seq": seq, "meta": meta}, [data])

    return LiveWidget
