// A view in a live notebook (anywidget): `view` is its module, the kernel answers its questions.
//
// What is asked is {seq, ask}; what comes back is {seq, meta} with one buffer, or {seq, error}. Only small things are
// traits, because a saved notebook keeps traits: `state`, and `key`, which names the element for the saved form's style.

function liveHost(model, signal) {
  const waiting = new Map(), heard = new Map();
  let seq = 0;
  const tell = (name) => { for (const fn of heard.get(name) ?? []) fn(); };
  const host = {
    alone: false,
    first: null,
    get state() { return model.get("state"); },
    keep(changes) {
      model.set("state", { ...model.get("state"), ...changes });
      model.save_changes();
    },
    ask(question) {
      const number = ++seq;
      return new Promise((resolve, reject) => {
        waiting.set(number, { resolve, reject });
        model.send({ seq: number, ask: question });
      });
    },
    on(name, fn) {
      heard.set(name, (heard.get(name) ?? new Set()).add(fn));
      return () => heard.get(name).delete(fn);
    },
  };
  const answered = (message, buffers) => {
    if (message.changed) { host.ask("first").then((first) => { host.first = first; tell("first"); }); return; }
    const asked = waiting.get(message.seq);
    waiting.delete(message.seq);
    if (message.error !== undefined) asked?.reject(new Error(message.error));
    else asked?.resolve({ meta: message.meta, data: buffers?.[0] ?? new DataView(new ArrayBuffer(0)) });
  };
  const changed = () => tell("state");
  model.on("msg:custom", answered);
  model.on("change:state", changed);
  signal.addEventListener("abort", () => { model.off("msg:custom", answered); model.off("change:state", changed); });
  return host;
}

export default {
  async render({ model, el, signal }) {
    const stop = new AbortController();
    signal?.addEventListener("abort", () => stop.abort());
    const host = liveHost(model, stop.signal), said = element("p", { textContent: "waiting for the kernel" });
    el.append(said);
    try {
      host.first = await host.ask("first");
      said.remove();
      el.id = model.get("key");
      view.render({ host, el, signal: stop.signal });
    } catch (error) {
      said.textContent = `This view failed: ${error.message}`;
    }
    return () => stop.abort();
  },
};
