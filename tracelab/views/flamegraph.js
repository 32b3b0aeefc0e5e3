// A flame graph: what can be done with it, for the live widget and for saved pages alike.
//
// `view` is what a person has set, and what is kept: layout, by (whose stacks stand on frames of their own), steps (what is
// hidden, collapsed or focused on), of (the function of a sandwich), selection (path of the frame zoomed in on), search,
// up (root at the bottom), colours. A tree that Python has cut is rewritten by Python, exactly; a whole one is rewritten
// here. Recorded text reaches the page through textContent and canvas only.

const { ROOT, SMALL } = flametree, NONE = -1;
const HINT = "Click a frame to zoom in, drag to pan, Ctrl and wheel to zoom freely, right click for more; keys: arrows, Enter, Escape, / to search, ? for all.";
const KEYS = "arrows walk, Enter zooms, Escape goes back, 0 shows all, + and - zoom, a and d pan, / searches, n and N step through matches, m opens the menu of a frame, t the table, s its callers and callees, i turns, c copies the stack, z and Z undo and redo";
const LAYOUTS = { merged: "left heavy", time: "in the order of time", inverted: "inverted", sandwich: "callers and callees" };
const GROUPS = { "": "all together", process: "by process", thread: "by thread", comm: "by comm", cgroup: "by cgroup", cpu: "by CPU" };
const COLOURS = { domain: "colours: domain", module: "colours: module", change: "colours: change" };

class Flame {
  constructor(el, host, signal) {
    Object.assign(this, { el, host, signal, turns: 0, still: 0, history: [], at: -1 });
    this.build();
    this.listen();
    this.load();
  }

  load() {
    const { meta, data } = this.host.first;
    this.base = { meta, t: flametree.read(meta, data) };
    this.tints = new Map();
    for (const [module] of flametable.modules(meta, this.base.t)) this.tint(meta.modules[module]);
    this.title.textContent = meta.title;
    const lines = (texts, className) => texts.map((textContent) => element("p", { textContent, className }));
    this.about.replaceChildren(...lines(meta.about, ""), ...lines(meta.notes, "tl-note"));
    const usual = { layout: meta.layout, by: meta.by ?? "", steps: [], of: "", selection: [], search: "", up: false, colours: meta.change ? "change" : "domain" };
    const state = { ...this.host.state };
    if (this.differs !== !!meta.change && (this.turns || state.colours === "change")) delete state.colours; // another kind of picture
    this.differs = !!meta.change;
    this.view = { ...usual, ...Object.fromEntries(Object.keys(usual).filter((k) => k in state).map((k) => [k, state[k]])) };
    if (this.turns === 0) { this.history = [this.view]; this.at = 0; }
    this.trees = null;
    this.choices();
    this.show();
    this.live.textContent = this.base.t.n > 1 ? HINT : "";
  }

  // ---- the page

  build() {
    const { el } = this, button = (textContent, about) => element("button", { type: "button", textContent, title: about ?? "" });
    el.classList.add("tl-flame");
    el.dataset.lmSuppressShortcuts = "true"; // JupyterLab keeps its hands off our keys
    const select = (label) => { const s = element("select"); s.setAttribute("aria-label", label); return s; };
    this.title = element("span", { className: "tl-title" });
    this.box = element("input", { type: "search", placeholder: "search, or /regex/" });
    this.box.setAttribute("aria-label", "search frames: text, or /regular expression/");
    this.matched = element("span", { className: "tl-matched" });
    this.matched.setAttribute("role", "status");
    [this.before, this.after] = [button("‹", "match before (N)"), button("›", "next match (n)")];
    [this.layout, this.by, this.colours] = [select("layout"), select("stacks"), select("colours")];
    this.back = button("show all");
    this.flip = button("root at bottom", "turn upside down (i)");
    [this.undo, this.redo] = [button("↶", "undo (z)"), button("↷", "redo (Z)")];
    this.list = button("functions", "table of functions (t)");
    this.more = button("⋯", "what can be done with the frame in focus (m)");
    for (const b of [this.before, this.after, this.undo, this.redo, this.more]) b.setAttribute("aria-label", b.title);
    this.list.setAttribute("aria-pressed", "false");
    this.legend = element("span", { className: "tl-legends" });
    this.chips = element("div", { className: "tl-chips" });
    this.panes = [new flamepane(this, this.signal, "flame graph; arrow keys walk through the frames")];
    this.panels = element("div", { className: "tl-panes" }, this.panes[0].scroll);
    this.table = element("div", { className: "tl-functions", hidden: true, tabIndex: 0 });
    this.table.setAttribute("role", "region");
    this.table.setAttribute("aria-label", "functions");
    this.live = element("div", { className: "tl-live" });
    this.live.setAttribute("aria-live", "polite");
    this.about = element("div", { className: "tl-about", tabIndex: 0 }); // it may scroll
    this.about.setAttribute("role", "region");
    this.about.setAttribute("aria-label", "about the picture");
    this.tip = element("div", { className: "tl-tip", hidden: true });
    this.pop = element("div", { className: "tl-menu", hidden: true });
    this.pop.setAttribute("role", "menu");
    const first = element("div", { className: "tl-bar" }, this.title, this.box, this.before, this.after, this.matched);
    const second = element("div", { className: "tl-bar tl-tools" }, this.layout, this.by, this.colours, this.flip, this.list, this.more, this.undo, this.redo, this.back, this.legend);
    el.replaceChildren(first, second, this.chips, this.panels, this.table, this.live, this.about, this.tip, this.pop);
  }

  // What there is to choose from: without a kernel, what the page can work out itself.
  choices() {
    const { meta } = this.base, { alone } = this.host;
    const fill = (select, names, texts, value) => {
      select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: texts[name] ?? name })));
      select.value = value;
      select.hidden = names.length < 2;
    };
    const layouts = meta.layout === "time" ? ["time"] : ["merged", "inverted", "sandwich"];
    fill(this.layout, alone ? layouts : [...new Set([...layouts, ...meta.layouts])], LAYOUTS, this.view.layout);
    fill(this.by, alone ? [meta.by ?? ""] : [...new Set([meta.by ?? "", ...meta.groups])], GROUPS, this.view.by);
    fill(this.colours, ["domain", "module", ...(meta.change ? ["change"] : [])], COLOURS, this.view.colours);
  }

  listen() {
    const { signal } = this, on = (target, type, fn) => target.addEventListener(type, fn, { signal });
    on(this.box, "input", () => this.search(this.box.value));
    on(this.box, "keydown", (e) => {
      e.stopPropagation();
      if (e.key === "Enter") flamesearch.step(this, e.shiftKey ? -1 : 1);
      if (e.key === "Escape") { this.box.value = ""; this.search(""); this.panes[0].canvas.focus(); }
    });
    on(this.before, "click", () => flamesearch.step(this, -1));
    on(this.after, "click", () => flamesearch.step(this, 1));
    on(this.layout, "change", () => this.lay(this.layout.value));
    on(this.by, "change", () => this.set({ by: this.by.value, selection: [] }));
    on(this.colours, "change", () => this.set({ colours: this.colours.value }));
    on(this.back, "click", () => this.goto([]));
    on(this.flip, "click", () => this.set({ up: !this.view.up }));
    on(this.undo, "click", () => this.travel(-1));
    on(this.redo, "click", () => this.travel(1));
    on(this.list, "click", () => flametable.tabulate(this, this.table.hidden));
    on(this.more, "click", (e) => this.menu(this.panes[0], this.panes[0].focus, e));
    on(this.pop, "keydown", (e) => flamemenu.key(this, e));
        on(document, "pointerdown", (e) => { if (!this.pop.hidden && !e.composedPath().includes(this.pop)) this.pop.hidden = true; });
    onTheme(() => this.draw(), signal);
    const ends = [this.host.on("first", () => this.load()), this.host.on("state", () => this.told())];
    signal.addEventListener("abort", () => { for (const end of ends) end(); });
  }

  // ---- what is set, and kept

  // Sets something that can be undone; a search that is still being typed is one change.
  set(changes, keep = true) {
    const before = this.view;
    this.view = { ...before, ...changes };
    const typing = Object.keys(changes).join() === "search" && this.typed;
    this.typed = Object.keys(changes).join() === "search";
    if (keep) {
      this.history.splice(typing ? this.at : this.at + 1, Infinity, this.view);
      this.at = this.history.length - 1;
      this.host.keep(this.view);
    }
    this.show(before);
  }

  travel(way) {
    const to = this.history[this.at + way];
    if (!to) return;
    this.at += way;
    const before = this.view;
    this.view = to;
    this.typed = false;
    this.host.keep(to);
    this.show(before);
  }

  // Python has set something.
  told() {
    const known = Object.entries(this.host.state).filter(([k, v]) => k in this.view && JSON.stringify(v) !== JSON.stringify(this.view[k]));
    if (!known.length) return;
    const before = this.view;
    this.view = { ...before, ...Object.fromEntries(known) };
    this.history.splice(this.at + 1, Infinity, this.view);
    this.at = this.history.length - 1;
    this.show(before);
  }

  lay(layout) {
    const pane = this.panes[0], i = pane.focus > 0 && pane.t.frame[pane.focus] >= 0 ? pane.focus : this.heaviest(pane);
    if (layout === "sandwich" && !this.view.of) this.set({ layout, of: i > 0 ? this.name(pane, i) : "", selection: [] });
    else this.set({ layout, selection: [] });
  }

  heaviest(pane) {
    const rows = flametree.functions(pane.meta, pane.t);
    return rows.length ? pane.t.frame.indexOf(rows[0].f) : NONE;
  }

  // Shows the view. What needs another tree waits for it; everything else is there at once.
  show(before = null) {
    const { view } = this, same = (...keys) => before && keys.every((k) => JSON.stringify(before[k]) === JSON.stringify(view[k]));
    for (const [select, key] of [[this.layout, "layout"], [this.by, "by"], [this.colours, "colours"]]) select.value = view[key];
    this.flip.textContent = view.up ? "root at top" : "root at bottom";
    this.undo.disabled = this.at <= 0;
    this.redo.disabled = this.at >= this.history.length - 1;
    this.box.value = view.search;
    if (this.trees && same("layout", "by", "steps", "of")) { this.placed(); return; }
    flamemenu.chips(this);
    const turn = ++this.turns, made = this.made();
    if (!(made instanceof Promise)) { this.take(made); return; }
    this.live.textContent = "asking the kernel …";
    made.then((trees) => { if (turn === this.turns) { this.live.textContent = ""; this.take(trees); } }, (error) => {
      if (turn !== this.turns) return;
      if (before && this.trees) { this.view = before; this.show(view); }
      this.live.textContent = error.message;
    });
  }

  // The trees of the view: one, or callers and callees.
  made() {
    const { view, base } = this, halves = view.layout === "sandwich" ? ["callers", "focus"] : [null];
    if (view.layout === "sandwich" && !view.of) return [base];
    const usual = view.layout === base.meta.layout && view.by === (base.meta.by ?? "") && !view.steps.length;
    if (usual) return [base];
    const here = view.layout !== "time" && base.meta.layout !== "time" && view.by === (base.meta.by ?? "");
    if (here && (this.host.alone || !base.meta.cut)) {
      const last = { inverted: [["invert"]], merged: [] }[view.layout];
      try {
        return halves.map((half) => flametree.rewritten(base.meta, base.t, [...view.steps, ...(half ? [[half, view.of]] : last)]));
      } catch (error) { return Promise.reject(error); }
    }
    const { layout, by, steps, of } = view;
    return Promise.all(halves.map((half) => this.asked({ layout: half ?? layout, by, steps, of })));
  }

  async asked(tree) {
    const { meta, data } = await this.host.ask({ tree });
    return { meta, t: flametree.read(meta, data), asked: tree };
  }

  // Draws once, whatever is changed meanwhile.
  once(change) {
    this.still++;
    try { change(); } finally { this.still--; }
    if (!this.still) this.draw();
  }

  take(trees) { this.once(() => this.taken(trees)); }

  taken(trees) {
    while (this.panes.length < trees.length) this.panes.push(new flamepane(this, this.signal, "callees; arrow keys walk through the frames"));
    this.panes.length = trees.length;
    this.panels.replaceChildren(...this.panes.map((pane) => pane.scroll));
    this.panels.classList.toggle("tl-two", trees.length > 1);
    this.trees = trees;
    this.zoomed = "[]";
    for (const [k, pane] of this.panes.entries()) { pane.part = null; pane.up = this.turned(k); pane.show(trees[k]); }
    flametable.legends(this);
    this.placed();
    if (!this.table.hidden) flametable.tabulate(this, true);
  }

  turned(k) { return this.trees.length > 1 ? k === 0 : this.view.up; }

  // Everything that needs no other tree: zoom, search, colours.
  placed() { this.once(() => this.arranged()); }

  arranged() {
    for (const [k, pane] of this.panes.entries()) if (pane.up !== this.turned(k)) pane.turn(this.turned(k));
    const { pane } = this, selected = JSON.stringify(this.view.selection);
    if (selected !== this.zoomed) { // else it may have been moved freely since
      this.zoomed = selected;
      const i = this.find(pane, this.view.selection);
      if (i === NONE && this.view.selection.length) this.live.textContent = "the frame that was selected is not in this picture";
      else pane.zoom(Math.max(i, 0));
    }
    this.back.disabled = pane.root === 0 && pane.lo <= 0;
    if (this.coloured !== this.view.colours) flametable.legends(this);
    flamesearch.match(this, this.view.search);
  }

  draw() { for (const pane of this.panes) pane.draw(); for (const mark of this.swatches ?? []) mark.paint(); }

  get pane() { return this.panes[0]; }

  // ---- zoom

  chosen(pane, i) {
    if (pane !== this.panes[0]) { pane.zoom(i); this.say(pane, i); return; }
    if (pane.t.frame[i] === SMALL) i = pane.t.parent[i];
    this.goto(this.path(pane, i));
    this.say(pane, pane.root);
  }

  goto(path) { this.once(() => this.went(path)); }

  went(path) {
    const { pane } = this;
    if (pane.part && !pane.part.every((name, k) => path[k] === name)) { pane.part = null; pane.show(this.trees[0]); }
    pane.zoom(Math.max(this.find(pane, path), 0));
    const selection = this.path(pane, pane.root);
    this.zoomed = JSON.stringify(selection);
    this.set({ selection });
    this.finer(pane);
  }

  // The view was moved freely.
  moved(pane) {
    this.back.disabled = pane.root === 0 && pane.hi - pane.lo >= pane.t.total[0];
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.finer(pane), 150);
  }

  // What was cut off because it was too light is asked for when it would be seen.
  finer(pane) {
    const { t, root } = pane, path = this.path(pane, root);
    if (this.host.alone || !pane.meta.cut || t.inTime || JSON.stringify(pane.part) === JSON.stringify(path)) return;
    let seen = false;
    for (let i = root; i < t.end[root] && !seen; i++) seen = t.frame[i] === SMALL && t.total[i] * pane.scale >= 2;
    if (!seen || (!root && !pane.part)) return;
    const k = this.panes.indexOf(pane), turn = this.turns, { layout, by, steps, of } = this.view, half = ["callers", "focus"][k];
    const root_ = path.map((_, j) => this.function(pane, this.find(pane, path.slice(0, j + 1))));
    this.asked({ layout: this.panes.length > 1 ? half : layout, by, steps, of, root: root_ }).then((part) => {
      if (turn !== this.turns || JSON.stringify(this.path(pane, pane.root)) !== JSON.stringify(path)) return;
      const [from, to] = [pane.lo - t.left[root], pane.hi - t.left[root]];
      pane.part = path;
      pane.show(part, Math.max(this.find({ meta: part.meta, t: part.t }, path), 0));
      pane.range(pane.t.left[pane.root] + from, pane.t.left[pane.root] + to);
      flamesearch.match(this, this.view.search);
    }, (error) => { this.live.textContent = error.message; });
  }

  // ---- what a node is

  theming() {
    const theme = themeOf(this.el);
    this.el.dataset.theme = this.theme = theme.name;
    return theme;
  }

  domain({ t, meta }, i) { return t.frame[i] < 0 ? "" : meta.domain[t.frame[i]]; }

  ink(pane, i) {
    if (this.view.colours === "change") return this.base.meta.ink;
    return this.view.colours === "domain" && this.domain(pane, i) === "bpf" ? this.base.meta.bpfInk : this.base.meta.ink;
  }

  colour(domain, shade) {
    const known = this.base.meta.colours[this.theme];
    return known[Object.hasOwn(known, domain) ? domain : "user"][shade];
  }

  fill({ t, meta }, i) {
    const f = t.frame[i], { base, view, theme } = this;
    if (f === ROOT) return base.meta.rootColours[theme];
    if (view.colours === "change" && t.before) return flametable.changeColour(base.meta, t, i, theme);
    if (view.colours === "module") return base.meta.moduleColours[theme][this.tint(meta.modules[meta.module[f]] ?? "")];
    return this.colour(meta.domain[f], meta.shade[meta.module[f]] ?? 0);
  }

  // The heaviest modules of all differ; a module keeps its colour whatever is shown.
  tint(module) {
    if (!this.tints.has(module)) this.tints.set(module, this.tints.size % this.base.meta.moduleColours.light.length);
    return this.tints.get(module);
  }

  name({ t, meta }, i) {
    const f = t.frame[i];
    if (f === ROOT) return t.inTime ? "all threads" : t.before ? "all" : `all ${amount(t.total[0], meta.unit)}`;
    return f === SMALL ? `${digits(t.pruned[i])} frames too light to keep` : meta.names[f];
  }

  function({ t, meta }, i) { const f = t.frame[i]; return [meta.names[f], meta.modules[meta.module[f]], meta.domain[f]]; }

  path(pane, i) {
    const names = [];
    for (; i > 0; i = pane.t.parent[i]) names.unshift(this.name(pane, i));
    return names;
  }

  // The node at the end of a path of names; the heaviest where there are several.
  find(pane, path) {
    const { t } = pane;
    let i = 0;
    for (const name of path ?? []) {
      let child = i + 1;
      while (child < t.end[i] && (t.frame[child] < 0 || this.name(pane, child) !== name)) child = t.end[child];
      if (child >= t.end[i]) return NONE;
      i = child;
    }
    return i;
  }

  // Lines on a node: its name first.
  facts(pane, i) {
    const { t, meta, root } = pane, f = t.frame[i], show = (v) => amount(v, meta.unit);
    const inZoom = root > 0 && i >= root && i < t.end[root] ? `, ${percent(t.total[i] / t.total[root])} of zoom` : "";
    const lines = [this.name(pane, i), `total ${show(t.total[i])}, ${percent(t.total[i] / t.total[0])} of all${inZoom}`];
    if (f === SMALL) return [...lines, this.host.alone || t.inTime ? "merged to keep the page small; .table has them all" : "merged; zoom in to see them"];
    lines.push(`self ${show(t.self[i])}, ${percent(t.self[i] / t.total[0])} of all`);
    if (t.before) lines.push(...flametable.changeWords(meta, t, i));
    if (f === ROOT) return lines;
    if (t.inTime) {
      let lane = i;
      while (t.depth[lane] > 1) lane = t.parent[lane];
      const from = meta.startNs + t.left[i] - t.left[lane], time = (ns) => `${Number((ns / 1e9).toPrecision(9))} s`;
      if (lane !== i) lines.push(`from ${time(from)} to ${time(from + t.total[i])}`);
    }
    const module = meta.modules[meta.module[f]], file = meta.files[meta.file[f]];
    lines.push(module ? `${meta.domain[f]}, in ${module}` : meta.domain[f]);
    const [line, last] = [meta.line[f], meta.lastLine[f]];
    if (file) lines.push(file + (line ? `:${line}${last > line ? `-${last}` : ""}` : ""));
    return lines;
  }

  say(pane, i) { this.live.textContent = this.facts(pane, i).join("; "); }

  point(pane, i, e) {
    this.tip.hidden = i === NONE || !e;
    if (this.tip.hidden) return;
    const [name, ...rest] = this.facts(pane, i);
    this.tip.replaceChildren(element("b", { textContent: name }), ...rest.map((s) => element("div", { textContent: s })));
    this.put(this.tip, e);
  }

  // Puts a box beside the pointer, inside of the view.
  put(box, e) {
    const all = this.el.getBoundingClientRect(), { offsetWidth: w, offsetHeight: h } = box;
    const x = e.clientX - all.left, y = e.clientY - all.top;
    box.style.left = `${Math.max(2, Math.min(x + 14, all.width - w - 4))}px`;
    box.style.top = `${Math.max(2, y + 18 + h > all.height ? y - h - 10 : y + 18)}px`;
  }

  menu(pane, i, e) { flamemenu.open(this, pane, i, e); }

  // ---- keys

  key(pane, e) {
    if (e.key.toLowerCase() === "c" && (e.ctrlKey || e.metaKey)) { flamemenu.copy(this, pane, pane.focus, "stack"); e.preventDefault(); e.stopPropagation(); return; }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const { t, up } = pane, i = pane.focus === NONE ? pane.root : pane.focus;
    const inward = () => pane.walk(pane.within(i)), outward = () => pane.walk(t.parent[i]);
    const back = () => this.goto(this.path(this.panes[0], this.panes[0].t.parent[this.panes[0].root]));
    const actions = {
      ArrowDown: up ? outward : inward, ArrowUp: up ? inward : outward, Enter: () => this.chosen(pane, i),
      ArrowRight: () => pane.walk(pane.beside(i, 1)), ArrowLeft: () => pane.walk(pane.beside(i, -1)),
      Escape: back, Backspace: back, 0: () => this.goto([]), i: () => this.set({ up: !this.view.up }),
      "+": () => pane.closer(0.7), "-": () => pane.closer(1 / 0.7), a: () => pane.pan(-0.2), d: () => pane.pan(0.2),
      "/": () => this.box.focus(), n: () => flamesearch.step(this, 1), N: () => flamesearch.step(this, -1), t: () => flametable.tabulate(this, this.table.hidden),
      z: () => this.travel(-1), Z: () => this.travel(1), c: () => flamemenu.copy(this, pane, i, "stack"),
      m: () => this.menu(pane, i), ContextMenu: () => this.menu(pane, i), "?": () => { this.live.textContent = KEYS; },
      s: () => { if (t.frame[i] >= 0) this.set({ layout: "sandwich", of: this.name(pane, i), selection: [] }); },
    };
    if (!actions[e.key]) return;
    e.preventDefault();
    e.stopPropagation();
    actions[e.key]();
  }

  // ---- search

  search(text) { this.set({ search: text }); return flamesearch.match(this, text); }
}

export default {
  render({ host, el, signal }) {
    const flame = el.__flame = new Flame(el, host, signal);
    signal.addEventListener("abort", () => { if (el.__flame === flame) delete el.__flame; });
  },
};
