"""A live view in a page without Jupyter: the widget's script, a model as anywidget has one, and the view as its kernel.

    page = live(open_page(...), view)    # view.answer() really runs, in this process
    page.locator("canvas").click()
    view.state
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tracelab.views.saved import script_of

_START = """
async ([source, css, state]) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const decode = (text) => {  // as a comm buffer arrives: somewhere inside a larger one, not aligned
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), all = new Uint8Array(raw.length + 3);
    all.set(raw, 3);
    return new DataView(all.buffer, 3);
  };
  const values = { state, key: "tl-test" }, handlers = new Map();
  const tell = (name, ...about) => { for (const fn of handlers.get(name) ?? []) fn(...about); };
  const model = window.model = {
    get: (k) => values[k], set: (k, v) => { values[k] = v; },
    save_changes() { kernelState(JSON.stringify(values.state)); },
    on: (name, fn) => { handlers.set(name, (handlers.get(name) || new Set()).add(fn)); },
    off: (name, fn) => { handlers.get(name)?.delete(fn); },
    listeners: (name) => handlers.get(name)?.size ?? 0,
    async send(content) {
      const said = JSON.parse(await kernelAsk(JSON.stringify(content)));
      tell("msg:custom", said.content, said.data === undefined ? [] : [decode(said.data)]);
    },
    arrive(state) { values.state = state; tell("change:state"); },
    say(content) { tell("msg:custom", content, []); },
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const el = window.el = document.createElement("div");
  document.body.append(el);
  window.stop = await module.default.render({ model, el, signal: new AbortController().signal });
}
"""


def live(page: Any, view: Any) -> Any:
    """The page, with the view alive in it; `el` is its element there, and `model` its model."""
    asked: list[Any] = []

    def ask(text: str) -> str:
        content = json.loads(text)
        asked.append(content["ask"])
        try:
            meta, data = view._live.answer(content["ask"])
        except Exception as error:
            return json.dumps({"content": {"seq": content["seq"], "error": str(error)}})
        answer = {"content": {"seq": content["seq"], "meta": meta}, "data": base64.b64encode(data).decode()}
        return json.dumps(answer)

    page.asked = asked
    page.expose_function("kernelAsk", ask)
    page.expose_function("kernelState", lambda text: view._live.set(json.loads(text)))
    view.on_state(lambda state: None)
    source = script_of(view.modules, "live.js")
    page.evaluate(_START, [source, view.stylesheet(), view.state])
    return page
