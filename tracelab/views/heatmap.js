// A heat map of moments: columns of seconds, cells down to 20 ms, ranges of time that are selected in it.
//
// `data` is f32 per cell, in the order of time: what is counted, then what of it was lost (1) or not recorded (2). The
// state: range and baseline, [from, until] in seconds; search; of, event and column_s; log. Cells are in the order of time,
// a column from the bottom up, so that a range covers the end of one column and the beginning of the next.

const EDGE = { left: 58, top: 8, right: 8, bottom: 34 }, HEIGHT = 250, NONE = -1;
const HINT = "Drag a range, Ctrl and drag for a baseline to compare with; keys: arrows walk, or step the range, Shift and arrows select, b makes it the baseline, Escape clears.";
const COLUMNS = [1, 10, 60, 300];

class Heatmap {
  constructor(el, host, signal) {
    Object.assign(this, { el, host, signal, cursor: 0, over: NONE, held: null, turn: 0, matched: null });
    this.build();
    this.listen();
    this.load(host.first);
    this.search(this.state.search ?? "", false);
  }

  get state() { return this.host.state; }

  load({ meta, data }) {
    this.meta = meta;
    const all = columns(data, [["values", Float32Array, meta.cells], ["flags", Float32Array, meta.cells]]);
    Object.assign(this, all);
    this.highest = this.values.reduce((a, b) => Math.max(a, b), 0);
    this.cursor = Math.min(this.cursor, meta.cells - 1);
    this.title.textContent = meta.title;
    this.about.replaceChildren(...meta.notes.map((textContent) => element("p", { textContent })));
    const fill = (select, options, value) => {
      select.replaceChildren(...options.map(([name, text]) => element("option", { value: name, textContent: text })));
      select.value = value;
      select.hidden = options.length < 2 || this.host.alone;
    };
    fill(this.of, meta.choices.map((c) => [JSON.stringify(c), c.text]), JSON.stringify(meta.choices[meta.chosen]));
    fill(this.column, COLUMNS.map((s) => [String(s), `column: ${s} s`]), String(meta.columnS));
    this.box.hidden = this.host.alone || !meta.searchable;
    this.draw();
  }

  build() {
    const { el } = this;
    el.classList.add("tl-heat");
    el.dataset.lmSuppressShortcuts = "true";
    this.title = element("span", { className: "tl-title" });
    const select = (label) => { const s = element("select"); s.setAttribute("aria-label", label); return s; };
    [this.of, this.column] = [select("what is counted"), select("length of a column")];
    this.log = element("button", { type: "button", textContent: "log" });
    this.box = element("input", { type: "search", placeholder: "paint stacks with …, or /regex/" });
    this.box.setAttribute("aria-label", "paint the moments whose stacks match: text, or /regular expression/");
    this.found = element("span", { className: "tl-soft" });
    this.found.setAttribute("role", "status");
    this.scale = element("canvas", { className: "tl-scale", width: 120, height: 10 });
    this.scale.setAttribute("aria-hidden", "true");
    this.least = element("span", { className: "tl-soft" });
    this.canvas = element("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "heat map");
    this.canvas.setAttribute("aria-label", "moments of the session; arrow keys walk, Shift and arrows select");
    this.live = element("div", { className: "tl-live", textContent: HINT });
    this.live.setAttribute("aria-live", "polite");
    this.about = element("div", { className: "tl-about" });
    const bar = element("div", { className: "tl-bar" }, this.title, this.box, this.found, this.of, this.column, this.log, this.scale, this.least);
    el.replaceChildren(bar, this.canvas, this.live, this.about);
  }

  listen() {
    const { signal, canvas } = this, on = (target, type, fn) => target.addEventListener(type, fn, { signal });
    on(canvas, "pointerdown", (e) => this.grab(e));
    on(canvas, "pointermove", (e) => this.move(e));
    on(canvas, "pointerup", () => this.drop());
    on(canvas, "pointerleave", () => { if (!this.held) { this.over = NONE; this.draw(); } });
    on(canvas, "keydown", (e) => this.key(e));
    on(canvas, "focus", () => this.draw());
    on(canvas, "blur", () => this.draw());
    on(this.box, "keydown", (e) => e.stopPropagation());
    on(this.box, "input", () => this.search(this.box.value));
    on(this.log, "click", () => this.keep({ log: !this.state.log }));
    on(this.of, "change", () => this.other({ choice: JSON.parse(this.of.value) }));
    on(this.column, "change", () => this.other({ columnS: Number(this.column.value) }));
    const size = new ResizeObserver(() => this.draw());
    size.observe(this.el);
    onTheme(() => this.draw(), signal);
    const ends = [this.host.on("first", () => { this.load(this.host.first); this.search(this.state.search ?? "", false); }), this.host.on("state", () => this.told())];
    signal.addEventListener("abort", () => { size.disconnect(); for (const end of ends) end(); });
  }

  keep(changes) {
    this.host.keep(changes);
    this.draw();
  }

  told() {
    const text = this.state.search ?? "";
    if (text !== this.searched) this.search(text, false);
    this.draw();
  }

  // Something else is counted, or columns have another length: Python counts.
  other(change) {
    const { meta } = this, asked = { choice: meta.choices[meta.chosen], columnS: meta.columnS, ...change }, turn = ++this.turn;
    this.host.ask({ moments: asked }).then((answer) => { if (turn === this.turn) { this.load(answer); this.search(this.state.search ?? "", false); } }, (error) => { this.live.textContent = error.message; });
  }

  // ---- search

  search(text, keep = true) {
    this.searched = text;
    if (this.box.value !== text) this.box.value = text;
    if (keep) this.host.keep({ search: text });
    this.matched = null;
    this.found.textContent = "";
    if (!text || this.host.alone || !this.meta.searchable) { this.draw(); return; }
    const turn = ++this.turn;
    this.host.ask({ match: text, columnS: this.meta.columnS }).then(({ meta, data }) => {
      if (turn !== this.turn) return;
      this.matched = columns(data, [["cells", Float32Array, meta.cells]]).cells;
      this.found.textContent = `matched ${percent(meta.share)}`;
      this.draw();
    }, (error) => { this.found.textContent = error.message; });
  }

  // ---- geometry: a cell is a number, in the order of time

  place(cell) {
    const { meta, size } = this, column = Math.floor(cell / meta.rows), row = cell % meta.rows;
    return { x: EDGE.left + column * size.w, y: EDGE.top + size.high - (row + 1) * size.h };
  }

  at(x, y) {
    const { meta, size } = this, column = Math.floor((x - EDGE.left) / size.w), row = Math.floor((EDGE.top + size.high - y) / size.h);
    if (column < 0 || column >= meta.columns || row < 0 || row >= meta.rows) return NONE;
    return column * meta.rows + row;
  }

  begin(cell) { return this.meta.startS + cell * this.meta.cellS; }

  // A range of cells as [from, until] in seconds, and back.
  seconds(a, b) { return [Math.min(a, b), Math.max(a, b) + 1].map((cell) => Number(this.begin(cell).toFixed(6))); }

  cells(range) {
    const { meta } = this, first = Math.round((range[0] - meta.startS) / meta.cellS), last = Math.round((range[1] - meta.startS) / meta.cellS);
    return [Math.max(first, 0), Math.min(Math.max(last, first + 1), meta.cells)];
  }

  // ---- drawing

  draw() {
    const { meta, canvas, el } = this, width = el.clientWidth - 12;
    if (!meta || width <= 0) return;
    const g = this.g = fitted(canvas, width, HEIGHT), { back, text, name: theme } = themeOf(el);
    canvas.style.width = `${width}px`;
    this.el.dataset.theme = this.theme = theme;
    const high = HEIGHT - EDGE.top - EDGE.bottom;
    this.size = { w: Math.min((width - EDGE.left - EDGE.right) / meta.columns, 160), h: high / meta.rows, high };
    g.fillStyle = back;
    g.fillRect(0, 0, width, HEIGHT);
    const { w, h } = this.size, gap = w > 5 ? 1 : 0, colours = meta.colours[theme], steps = colours.cold.length - 1;
    const level = this.state.log ? (v) => Math.log1p(v / this.highest * 100) / Math.log(101) : (v) => v / this.highest;
    let drawn = 0;
    for (let cell = 0; cell < meta.cells; cell++) {
      const flag = this.flags[cell], value = this.values[cell];
      if (flag === 2) continue;
      const { x, y } = this.place(cell);
      const matched = this.matched ? this.matched[cell] : null, shown = matched ?? value;
      if (value > 0) {
        const scale = matched > 0 ? colours.match : this.matched ? colours.grey : colours.cold;
        g.fillStyle = scale[Math.min(steps, Math.max(1, Math.ceil(level(matched > 0 ? shown : value) * steps)))];
        drawn++;
      } else g.fillStyle = colours.zero;
      g.fillRect(x, y, w - gap, h + (gap ? 0 : 0.3));
      if (flag === 1) { g.fillStyle = colours.lost; g.fillRect(x, y, Math.max(w * 0.25, 2), h); }
    }
    this.drawn = drawn;
    this.axes(g, text);
    for (const [from, until] of meta.marks) this.outline(g, this.cells([from, until ?? from + meta.cellS]), colours.mark);
    for (const [name, colour] of [["baseline", colours.baseline], ["range", text]]) if (this.state[name]) this.outline(g, this.cells(this.state[name]), colour);
    if (this.held) this.outline(g, [Math.min(this.held.from, this.held.to), Math.max(this.held.from, this.held.to) + 1], this.held.name === "baseline" ? colours.baseline : text);
    if (this.over !== NONE) this.ring(g, this.over, text, 1);
    if (document.activeElement === canvas) { this.ring(g, this.cursor, theme === "dark" ? "#000" : "#fff", 4); this.ring(g, this.cursor, theme === "dark" ? "#fff" : "#000", 2); }
    this.legend(colours);
  }

  axes(g, text) {
    const { meta } = this, { w, high } = this.size;
    Object.assign(g, { fillStyle: text, font: "11px system-ui, sans-serif", textBaseline: "middle", textAlign: "right" });
    for (const share of [0, 0.25, 0.5, 0.75, 1]) g.fillText(`${Number((share * meta.columnS).toPrecision(3))} s`, EDGE.left - 5, EDGE.top + high * (1 - share) + (share === 1 ? 5 : share ? 0 : -4));
    g.textAlign = "left";
    const every = Math.max(1, Math.ceil(60 / w));
    for (let column = 0; column < meta.columns; column += every) {
      const x = EDGE.left + column * w;
      g.fillRect(x, EDGE.top + high, 1, 4);
      g.fillText(`${Number((meta.startS + column * meta.columnS).toPrecision(7))} s`, x + 2, EDGE.top + high + 9);
    }
    g.fillText("time since the session began; a column from the bottom up", EDGE.left, EDGE.top + high + 24);
  }

  // The outline of cells from one to before another: whole columns, and the parts of the first and the last.
  outline(g, [from, until], colour) {
    const { meta } = this, { w, h, high } = this.size;
    Object.assign(g, { strokeStyle: colour, fillStyle: colour, lineWidth: 2 });
    for (let cell = from; cell < until;) {
      const column = Math.floor(cell / meta.rows), end = Math.min(until, (column + 1) * meta.rows);
      const low = cell - column * meta.rows, top = end - column * meta.rows, x = EDGE.left + column * w;
      g.globalAlpha = 0.1;
      g.fillRect(x, EDGE.top + high - top * h, w, (top - low) * h);
      g.globalAlpha = 1;
      g.strokeRect(x + 1, EDGE.top + high - top * h + 1, w - 2, (top - low) * h - 2);
      cell = end;
    }
  }

  ring(g, cell, colour, thick) {
    const { x, y } = this.place(cell), { w, h } = this.size;
    Object.assign(g, { strokeStyle: colour, lineWidth: thick });
    g.strokeRect(x, y, w, h);
  }

  legend(colours) {
    const p = this.scale.getContext("2d"), n = colours.cold.length;
    for (let i = 0; i < n; i++) { p.fillStyle = i ? colours.cold[i] : colours.zero; p.fillRect((i * 120) / n, 0, 120 / n + 1, 10); }
    this.least.textContent = `0 to ${amount(this.highest, this.meta.unit)} in ${Number((this.meta.cellS * 1000).toPrecision(3))} ms`;
    this.log.setAttribute("aria-pressed", String(!!this.state.log));
  }

  // ---- pointer

  grab(e) {
    const cell = this.at(e.offsetX, e.offsetY);
    if (e.button !== 0 || cell === NONE) return;
    this.canvas.setPointerCapture?.(e.pointerId);
    this.held = { from: cell, to: cell, name: e.ctrlKey || e.metaKey ? "baseline" : "range" };
    this.cursor = cell;
    this.draw();
  }

  move(e) {
    const cell = this.at(e.offsetX, e.offsetY);
    if (this.held) { if (cell !== NONE) this.held.to = cell; } else this.over = cell;
    this.draw();
    if (cell !== NONE) this.say(cell);
  }

  drop() {
    const { held } = this;
    this.held = null;
    if (held) this.choose(held.name, this.seconds(held.from, held.to));
  }

  choose(name, range) {
    this.keep({ [name]: range });
    const said = range ? `${name} ${range[0]} s to ${range[1]} s: ${amount(this.sum(range), this.meta.unit)}` : `no ${name}`;
    this.live.textContent = said;
  }

  sum(range) {
    const [from, until] = this.cells(range);
    return this.values.subarray(from, until).reduce((a, b) => a + b, 0);
  }

  say(cell) {
    const { meta } = this, from = this.begin(cell), span = `${Number(from.toPrecision(9))} s to ${Number((from + meta.cellS).toPrecision(9))} s`;
    const what = this.flags[cell] === 2 ? "not recorded" : `${amount(this.values[cell], meta.unit)} of ${meta.quantity}${this.flags[cell] === 1 ? ", something was lost" : ""}`;
    const matched = this.matched ? `, ${amount(this.matched[cell], meta.searchUnit)} matched` : "";
    const marks = meta.marks.filter(([begin, until]) => begin < from + meta.cellS && (until ?? begin) >= from).map((mark) => `; mark: ${mark[2]}`);
    this.live.textContent = `${span}: ${what}${matched}${marks.join("")}`;
  }

  // ---- keys

  key(e) {
    if (e.altKey) return;
    const { meta } = this, step = { ArrowUp: 1, ArrowDown: -1, ArrowRight: meta.rows, ArrowLeft: -meta.rows }[e.key];
    const range = this.state.range, clear = () => { this.host.keep({ range: null, baseline: null }); this.held = null; this.live.textContent = "nothing is selected"; this.draw(); };
    let done = true;
    if (step && e.shiftKey) {
      const from = this.anchor ?? this.cursor;
      this.anchor = from;
      this.cursor = Math.min(Math.max(this.cursor + step, 0), meta.cells - 1);
      this.choose("range", this.seconds(from, this.cursor));
    } else if (step && range) {
      const way = Math.sign(step) * (range[1] - range[0]), end = meta.startS + meta.cells * meta.cellS;
      const by = Math.min(Math.max(way, meta.startS - range[0]), end - range[1]);
      this.anchor = null;
      this.choose("range", range.map((t) => Number((t + by).toFixed(6))));
    } else if (step) {
      this.cursor = Math.min(Math.max(this.cursor + step, 0), meta.cells - 1);
      this.say(this.cursor);
      this.draw();
    } else if (e.key === "Enter" || e.key === " ") { this.anchor = this.cursor; this.choose("range", this.seconds(this.cursor, this.cursor)); }
    else if (e.key === "b" && range && !e.ctrlKey) this.keep({ baseline: range, range: null });
    else if (e.key === "Escape") { this.anchor = null; clear(); }
    else if (e.key === "/") this.box.focus();
    else done = false;
    if (done) { e.preventDefault(); e.stopPropagation(); }
  }
}

export default {
  render({ host, el, signal }) {
    const map = el.__heat = new Heatmap(el, host, signal);
    signal.addEventListener("abort", () => { if (el.__heat === map) delete el.__heat; });
  },
};
