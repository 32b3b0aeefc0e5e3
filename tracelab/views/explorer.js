// The explorer: several views in hosts of their own, one selection among them.
//
// `state.selection` is what is selected: time, baseline, pids, comms, cpus, events, cgroups, frames; what is missing or
// null leaves everything in. `state.parts` has what was set in each part. What a part keeps may change the selection;
// then the parts that are narrowed by it are asked for anew, all in one question, and stale answers are dropped.

const PARTS = { rate: event_rate, heatmap, flame: flamegraph };
const TITLES = { rate: "Events over time", heatmap: "Moments", flame: "Stacks", top: "Processes", findings: "Findings" };
const NARROWED = { time: ["flame", "top"], baseline: ["flame"], frames: ["top"], pids: ["rate", "heatmap", "flame"], comms: ["rate", "heatmap", "flame", "top"] };
const REST_MS = 700; // after which a selection is taken for settled
const FOLLOW_MS = 1000; // how often a session that is being recorded is looked at

class Explorer {
  constructor(el, host, signal) {
    Object.assign(this, { el, host, signal, turn: 0, hosts: {}, shown: {} });
    this.build();
    this.take(host.first);
    host.on("state", () => this.told());
    if (host.first.meta.recording && !host.alone) this.follow();
  }

  get selection() { return this.host.state.selection ?? {}; }

  build() {
    const { el, host } = this, { meta } = host.first;
    el.classList.add("tl-explorer");
    el.dataset.lmSuppressShortcuts = "true";
    const section = (name) => {
      const body = element("div", { className: `tl-part tl-part-${name}` });
      const all = element("section", {}, element("h3", { textContent: TITLES[name] }), body);
      all.setAttribute("aria-label", TITLES[name]);
      this.shown[name] = body;
      return all;
    };
    this.code = element("code");
    this.copy = element("button", { type: "button", textContent: "copy code" });
    this.clear = element("button", { type: "button", textContent: "select all" });
    this.said = element("span", { className: "tl-said" });
    this.said.setAttribute("role", "status");
    const bar = element("div", { className: "tl-bar" }, element("strong", { textContent: meta.title }), this.code, this.copy, this.clear, this.said);
    this.controls = element("div", { className: "tl-bar tl-player" });
    const left = element("div", {}, section("rate"), section("heatmap"), section("flame")), right = element("div", {}, section("top"), section("findings"));
    el.replaceChildren(bar, this.controls, element("div", { className: "tl-grid" }, left, right));
    const on = (target, fn) => target.addEventListener("click", fn, { signal: this.signal });
    on(this.copy, () => navigator.clipboard?.writeText(this.code.textContent).then(() => { this.said.textContent = "copied"; }, () => { this.said.textContent = "this page may not copy"; }));
    on(this.clear, () => this.select({ time: null, baseline: null, pids: null, comms: null, cpus: null, events: null, cgroups: null, frames: null }));
    if (meta.player && !host.alone) this.player = player.build(this.controls, { window: meta.window, show: (time) => this.select({ time }), signal: this.signal });
    this.controls.hidden = !this.player;
    if (host.alone) this.said.textContent = "a saved page: its views are linked where there is a kernel";
  }

  // A host for a part: the same as the part would have alone.
  hostOf(name, first) {
    const { host } = this, heard = new Map(), explorer = this;
    return this.hosts[name] = {
      alone: host.alone,
      first,
      get state() { return host.state.parts?.[name] ?? {}; },
      keep(changes) {
        host.keep({ parts: { ...host.state.parts, [name]: { ...host.state.parts?.[name], ...changes } } });
        explorer.linked(name, changes);
      },
      ask: (question) => host.ask({ part: name, ask: question }),
      on(event, fn) {
        heard.set(event, (heard.get(event) ?? new Set()).add(fn));
        return () => heard.get(event).delete(fn);
      },
      tell(event) { for (const fn of heard.get(event) ?? []) fn(); },
    };
  }

  // ---- what is selected

  // A part has kept something: what of it selects?
  linked(name, changes) {
    if (this.quiet) return;
    const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null), chosen = {};
    if ("range" in changes && !same(changes.range, this.selection.time)) chosen.time = changes.range;
    if ("baseline" in changes && !same(changes.baseline, this.selection.baseline)) chosen.baseline = changes.baseline;
    if (name === "flame" && "selection" in changes) {
      const last = changes.selection?.at(-1), frames = last === undefined ? null : [last];
      if (!same(frames, this.selection.frames)) chosen.frames = frames;
    }
    if (Object.keys(chosen).length) this.select(chosen);
  }

  // Changes the selection; resolves when every part shows it.
  async select(changes, ask = true) {
    if (ask) this.host.keep({ selection: { ...this.selection, ...changes } });
    this.mark();
    if (this.host.alone) return;
    const parts = [...new Set(Object.keys(changes).flatMap((key) => NARROWED[key] ?? ["rate", "heatmap", "flame", "top"]))], turn = ++this.turn;
    const began = performance.now();
    try {
      const answer = await this.host.ask({ select: this.selection, parts });
      if (turn !== this.turn) return;
      this.take(answer);
      this.took = performance.now() - began;
      this.said.textContent = "";
      this.check(turn);
    } catch (error) {
      if (turn === this.turn) this.said.textContent = error.message;
    }
  }

  // The findings of what is selected, when nothing else is asked for: they take longer than what is drawn.
  check(turn) {
    clearTimeout(this.checking);
    if (this.player?.state.playing) return;
    this.checking = setTimeout(() => {
      if (turn !== this.turn || this.signal.aborted) return;
      this.host.ask({ select: this.selection, parts: ["findings"] }).then((answer) => { if (turn === this.turn) this.take(answer); }, () => {});
    }, REST_MS);
  }

  // Python has selected something.
  told() {
    const now = JSON.stringify(this.selection);
    if (now === this.known) { for (const part of Object.values(this.hosts)) part.tell("state"); return; }
    this.select(this.selection, false);
  }

  // Shows the selection in the parts that show a time as a range.
  mark() {
    this.known = JSON.stringify(this.selection);
    const { time = null, baseline = null, frames = null } = this.selection, parts = { ...this.host.state.parts };
    const put = (name, changes) => { if (this.hosts[name]) parts[name] = { ...parts[name], ...changes }; };
    put("rate", { range: time });
    put("heatmap", { range: time, baseline, search: frames ? `/^${frames[0].replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$/` : "" });
    this.quiet = true;
    this.host.keep({ parts });
    for (const name of ["rate", "heatmap"]) this.hosts[name]?.tell("state");
    this.quiet = false;
  }

  // ---- what comes

  take({ meta, data }) {
    this.code.textContent = meta.code;
    for (const [name, part] of Object.entries(meta.parts)) {
      if (part.missing) { this.shown[name].replaceChildren(element("p", { textContent: part.missing })); delete this.hosts[name]; continue; }
      const first = { meta: part.meta, data: new DataView(data.buffer, data.byteOffset + part.at, part.size) };
      if (this.hosts[name]) { this.hosts[name].first = first; this.hosts[name].tell("first"); continue; }
      this.shown[name].replaceChildren(element("div"));
      PARTS[name].render({ host: this.hostOf(name, first), el: this.shown[name].firstChild, signal: this.signal });
    }
    if (meta.top) this.processes(meta.top);
    if (meta.findings) this.findings(meta.findings);
    this.known = JSON.stringify(this.selection);
  }

  processes(rows) {
    const chosen = new Set(this.selection.pids ?? []);
    const head = element("tr", {}, ...["process", "on CPU", "share", "events"].map((textContent) => element("th", { textContent, scope: "col" })));
    const body = rows.map(([pid, comm, ns, share, events]) => {
      const pick = element("button", { type: "button", textContent: `${comm} (${pid})` });
      pick.setAttribute("aria-pressed", String(chosen.has(pid)));
      pick.addEventListener("click", () => {
        const pids = new Set(this.selection.pids ?? []);
        if (!pids.delete(pid)) pids.add(pid);
        pick.setAttribute("aria-pressed", String(pids.has(pid)));
        this.select({ pids: pids.size ? [...pids] : null });
      });
      const numbers = [ns ? amount(ns, "ns") : "–", ns ? percent(share) : "–", digits(events)].map((textContent) => element("td", { textContent, className: "tl-num" }));
      return element("tr", {}, element("td", {}, pick), ...numbers);
    });
    this.shown.top.replaceChildren(rows.length ? element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)) : element("p", { textContent: "nothing ran in what is selected" }));
  }

  findings(found) {
    const rows = found.map((f) => {
      const lines = [element("b", { textContent: f.title }), ...[f.actual, f.outcome === "found" ? f.action : ""].filter(Boolean).map((textContent) => element("div", { textContent }))];
      const row = element("li", { className: `tl-${f.outcome === "found" ? f.severity : "soft"}` }, element("span", { className: "tl-outcome", textContent: f.outcome === "found" ? f.severity : f.outcome }), ...lines);
      if (f.time) {
        const show = element("button", { type: "button", textContent: "show when" });
        show.addEventListener("click", () => this.select({ time: f.time }));
        row.append(show);
      }
      return row;
    });
    this.shown.findings.replaceChildren(element("ul", {}, ...rows));
  }

  // A session that is being recorded grows: everything is asked for anew, as long as it does.
  follow() {
    const again = async () => {
      if (this.signal.aborted) return;
      const turn = ++this.turn;
      try {
        const answer = await this.host.ask({ select: this.selection, parts: ["rate", "heatmap", "flame", "top"] });
        if (turn === this.turn) this.take(answer);
        this.said.textContent = answer.meta.recording ? "recording" : "the recording has ended";
        if (!answer.meta.recording) return;
      } catch (error) { this.said.textContent = error.message; }
      setTimeout(again, FOLLOW_MS);
    };
    setTimeout(again, FOLLOW_MS);
  }
}

export default {
  render({ host, el, signal }) { el.__explorer = new Explorer(el, host, signal); },
};
