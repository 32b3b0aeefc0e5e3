// Event rates over time on a canvas: a stack of steps, or lines; what was lost is hatched on top of it, peaks are a line.
//
// `data` is f32, per bin: the rates of each series, the peak of all of them in a finer bin, what was lost, and 1 for what
// was recorded. The state: range (the brushed time), view (the time zoomed to), hidden (names of series), lines. Where a
// kernel answers, a zoom is counted anew; a saved page zooms into what it has. Recorded text goes through canvas and
// textContent only.

const EDGE = { left: 58, top: 22, right: 10, bottom: 34 }, HEIGHT = 270, NONE = -1;
const HINT = "Drag to select a time, double click to zoom into it; keys: arrows walk, Shift and arrows select, Enter zooms, Escape goes back.";

// Round numbers from 0 to just above the highest, as rate_picture.ticks makes them.
function ticks(highest) {
  if (!(highest > 0)) return [0, 1];
  const rough = highest / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  return Array.from({ length: Math.ceil((highest / step) * 0.9999) + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

// A time as finely as bins of that length need it.
const seconds = (s, bin = 1e-6) => `${Number(s.toFixed(Math.max(0, Math.ceil(-Math.log10(bin)) + 1)))} s`;

class Rates {
  constructor(el, host, signal) {
    Object.assign(this, { el, host, signal, bin: NONE, held: null, asking: false, wanted: null });
    this.build();
    this.listen();
    this.load();
  }

  get state() { return this.host.state; }

  load() {
    const { meta, data } = this.host.first;
    this.about = meta;
    this.all = this.read(meta, data);
    this.now = this.all;
    this.title.textContent = meta.title;
    this.said.replaceChildren(...meta.notes.map((textContent) => element("p", { textContent })));
    this.series();
    this.bin = NONE;
    this.rest(this.state.view ?? null);
  }

  // Bins as they came: everything by bin, times in seconds.
  read(meta, data) {
    const n = meta.bins, all = columns(data, [["values", Float32Array, n * (meta.names.length + 3)]]).values;
    const part = (k) => all.subarray(k * n, (k + 1) * n), k = meta.names.length;
    return { start: meta.start, bin: meta.bin, fine: meta.fine, n, rates: meta.names.map((_, i) => part(i)), peak: part(k), lost: part(k + 1), recorded: part(k + 2) };
  }

  build() {
    const { el } = this, button = (textContent, about) => element("button", { type: "button", textContent, title: about });
    el.classList.add("tl-rate");
    el.dataset.lmSuppressShortcuts = "true";
    this.title = element("span", { className: "tl-title" });
    [this.shape, this.into, this.out] = [button("lines", "lines or a stack"), button("zoom in", "zoom into the selected time"), button("show all", "the whole time")];
    this.canvas = element("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "plot of rates over time");
    this.canvas.setAttribute("aria-label", "events per second over time; arrow keys walk, Shift and arrows select");
    this.list = element("ul");
    this.list.setAttribute("aria-label", "series");
    this.live = element("div", { className: "tl-live", textContent: HINT });
    this.live.setAttribute("aria-live", "polite");
    this.said = element("div", { className: "tl-about" });
    this.tip = element("div", { className: "tl-tip", hidden: true });
    this.tip.setAttribute("role", "status");
    el.replaceChildren(element("div", { className: "tl-bar" }, this.title, this.shape, this.into, this.out), this.canvas, this.list, this.live, this.said, this.tip);
  }

  series() {
    const { names, colours, lostColour } = this.about, rows = names.map((name, i) => {
      const mark = element("span");
      mark.style.background = colours[i];
      const row = element("button", { type: "button" }, mark, name);
      row.setAttribute("aria-pressed", String(!(this.state.hidden ?? []).includes(name)));
      row.addEventListener("click", () => {
        const hidden = new Set(this.state.hidden ?? []);
        if (!hidden.delete(name)) hidden.add(name);
        row.setAttribute("aria-pressed", String(!hidden.has(name)));
        this.keep({ hidden: [...hidden] });
      });
      return element("li", {}, row);
    });
    const legend = (style, text) => { const mark = element("span"); mark.style.background = style; rows.push(element("li", {}, mark, text)); };
    if (this.all.fine) legend("linear-gradient(transparent 40%, currentColor 40% 60%, transparent 60%)", `peak of all in ${amount(this.all.fine * 1e9, "ns")}`);
    if (this.all.lost.some((v) => v > 0)) legend(`repeating-linear-gradient(-45deg, ${lostColour} 0 2px, transparent 2px 5px)`, "lost: the true rate lies up to its upper edge");
    this.list.replaceChildren(...rows);
  }

  listen() {
    const { signal, canvas } = this, on = (target, type, fn, more = {}) => target.addEventListener(type, fn, { signal, ...more });
    on(canvas, "pointerdown", (e) => { if (e.button === 0) { canvas.setPointerCapture?.(e.pointerId); this.held = { from: this.time(e.offsetX), to: null }; } });
    on(canvas, "pointermove", (e) => this.move(e));
    on(canvas, "pointerup", () => this.drop());
    on(canvas, "pointerleave", () => { if (!this.held) this.show(NONE); });
    on(canvas, "dblclick", () => this.zoom());
    on(canvas, "wheel", (e) => this.wheel(e), { passive: false });
    on(canvas, "keydown", (e) => this.key(e));
    on(canvas, "focus", () => this.draw());
    on(canvas, "blur", () => this.show(NONE));
    on(this.shape, "click", () => this.keep({ lines: !this.state.lines }));
    on(this.into, "click", () => this.zoom());
    on(this.out, "click", () => this.look(null));
    const size = new ResizeObserver(() => this.draw());
    size.observe(this.el);
    onTheme(() => this.draw(), signal);
    const ends = [this.host.on("first", () => this.load()), this.host.on("state", () => this.told())];
    signal.addEventListener("abort", () => { size.disconnect(); for (const end of ends) end(); });
  }

  keep(changes) {
    this.host.keep(changes);
    this.draw();
  }

  told() {
    if (JSON.stringify(this.state.view ?? null) !== JSON.stringify(this.viewed ?? null)) this.rest(this.state.view ?? null);
    this.series();
    this.tell();
    this.draw();
  }

  // ---- the time that is seen

  get span() { return this.state.view ?? this.about.whole; }

  // Looks at a part of the time; null for all of it.
  look(view) {
    const [from, until] = this.about.whole, least = 1e-6;
    if (view) {
      const width = Math.min(Math.max(view[1] - view[0], least), until - from), first = Math.min(Math.max(view[0], from), until - width);
      view = width >= (until - from) * 0.9999 ? null : [first, first + width].map((t) => Number(t.toFixed(9)));
    }
    this.host.keep({ view });
    this.rest(view);
  }

  // Has finer bins counted for what is seen: one question at a time, the last one counts.
  rest(view) {
    this.viewed = view;
    if (!view) this.now = this.all;
    this.draw();
    if (!view || this.host.alone || !this.about.finer) return;
    this.wanted = view;
    if (!this.asking) this.ask();
  }

  async ask() {
    const view = this.wanted;
    this.wanted = null;
    this.asking = true;
    try {
      const { meta, data } = await this.host.ask({ view });
      if (this.viewed && JSON.stringify(view) === JSON.stringify(this.viewed)) { this.now = this.read(meta, data); this.draw(); }
    } catch (error) { this.live.textContent = error.message; }
    this.asking = false;
    if (this.wanted) this.ask();
  }

  zoom() { if (this.state.range) this.look(this.state.range); }

  wheel(e) {
    const across = e.shiftKey ? e.deltaY : Math.abs(e.deltaX) > Math.abs(e.deltaY) ? e.deltaX : 0;
    if (!(e.ctrlKey || e.metaKey) && !across) return;
    e.preventDefault();
    const [from, until] = this.span, at = this.time(e.offsetX), factor = Math.exp(e.deltaY * 0.002);
    if (across) { const by = (across / this.width) * (until - from); this.look([from + by, until + by]); }
    else this.look([at - (at - from) * factor, at + (until - at) * factor]);
  }

  // ---- geometry

  x(time) { const [from, until] = this.span; return EDGE.left + ((time - from) / (until - from || 1)) * this.width; }

  time(x) { const [from, until] = this.span; return Math.min(Math.max(from + ((x - EDGE.left) / this.width) * (until - from), from), until); }

  // The bins that are seen, by number.
  seen() {
    const { start, bin, n } = this.now, [from, until] = this.span;
    return [Math.max(0, Math.floor((from - start) / bin + 1e-9)), Math.min(n, Math.ceil((until - start) / bin - 1e-9))];
  }

  // ---- drawing

  draw() {
    const { canvas, el, about } = this, wide = el.clientWidth - 12;
    if (!about || wide <= 0) return;
    const g = this.g = fitted(canvas, wide, HEIGHT), { back, text, name } = themeOf(el), { now, state } = this;
    canvas.style.width = `${wide}px`;
    el.dataset.theme = this.theme = name;
    this.width = wide - EDGE.left - EDGE.right;
    this.shape.textContent = state.lines ? "stack" : "lines";
    this.into.disabled = !state.range;
    this.out.disabled = !state.view;
    g.fillStyle = back;
    g.fillRect(0, 0, wide, HEIGHT);
    const [first, last] = this.seen(), high = HEIGHT - EDGE.top - EDGE.bottom, base = EDGE.top + high;
    const on = about.names.map((n) => !(state.hidden ?? []).includes(n)), every = on.every(Boolean);
    const stack = new Float64Array(now.n), layers = now.rates.map((rate, i) => {
      for (let b = first; b < last && on[i]; b++) stack[b] += rate[b];
      return state.lines ? rate : stack.slice();
    });
    let highest = 0;
    for (let b = first; b < last; b++) {
      const top = state.lines ? Math.max(...now.rates.map((rate, i) => (on[i] ? rate[b] : 0))) : stack[b] + now.lost[b];
      highest = Math.max(highest, top, every && !state.lines ? now.peak[b] : 0);
    }
    const levels = ticks(highest), scale = high / levels.at(-1);
    Object.assign(this, { levels, layers, first, last, drawn: last - first });
    const y = (v) => (v > 0 ? Math.min(base - v * scale, base - 1) : base);
    this.axes(g, text, levels, y);
    g.save();
    g.beginPath();
    g.rect(EDGE.left, 0, this.width, base);
    g.clip();
    const steps = (values, closed) => {
      g.beginPath();
      if (closed) g.moveTo(this.x(now.start + first * now.bin), base);
      for (let b = first; b < last; b++) {
        const from = this.x(now.start + b * now.bin), until = this.x(now.start + (b + 1) * now.bin), at = now.recorded[b] ? y(values[b]) : base;
        if (b === first && !closed) g.moveTo(from, at);
        g.lineTo(from, at);
        g.lineTo(until, at);
      }
      if (closed) g.lineTo(this.x(now.start + last * now.bin), base);
    };
    if (!state.lines && now.lost.some((v) => v > 0)) { steps(stack.map((v, b) => v + now.lost[b]), true); g.fillStyle = this.hatch(g, about.lostColour); g.fill(); }
    for (let i = about.names.length - 1; i >= 0; i--) {
      if (!on[i]) continue;
      steps(layers[i], !state.lines);
      if (state.lines) { Object.assign(g, { strokeStyle: about.colours[i], lineWidth: 1.6 }); g.stroke(); } else { g.fillStyle = about.colours[i]; g.fill(); }
    }
    if (now.fine && every && !state.lines) { steps(now.peak, false); Object.assign(g, { strokeStyle: text, lineWidth: 1, globalAlpha: 0.75 }); g.stroke(); g.globalAlpha = 1; }
    this.bands(g, text, base);
    g.restore();
  }

  axes(g, text, levels, y) {
    const [from, until] = this.span, base = y(0), line = getComputedStyle(this.el).getPropertyValue("--tl-line");
    Object.assign(g, { font: "11px system-ui, sans-serif", textBaseline: "middle", textAlign: "right" });
    for (const value of levels) {
      g.fillStyle = line;
      g.fillRect(EDGE.left, Math.round(value ? y(value) : base), this.width, 1);
      g.fillStyle = text;
      g.fillText(short(value), EDGE.left - 5, value ? y(value) : base);
    }
    g.textAlign = "center";
    const span = until - from, power = 10 ** Math.floor(Math.log10(span / 8)), step = power * [1, 2, 5, 10].find((m) => m * power >= span / 8);
    for (let at = Math.ceil(from / step - 1e-9) * step; at <= until + step * 1e-6; at += step) {
      g.fillRect(this.x(at), base, 1, 4);
      g.fillText(String(Number(at.toPrecision(9))), this.x(at), base + 11);
    }
    g.fillText("seconds since the session began", EDGE.left + this.width / 2, base + 26);
    g.save();
    g.translate(11, EDGE.top + (base - EDGE.top) / 2);
    g.rotate(-Math.PI / 2);
    g.fillText("events per second", 0, 0);
    g.restore();
  }

  // What is not recorded, marks, the brushed time and the cursor.
  bands(g, text, base) {
    const { now, about, state } = this, high = base - EDGE.top;
    Object.assign(g, { textAlign: "left", font: "11px system-ui, sans-serif" });
    for (let b = this.first; b < this.last; b++) {
      if (now.recorded[b]) continue;
      const from = this.x(now.start + b * now.bin);
      g.fillStyle = this.hatch(g, "#888");
      g.fillRect(from, EDGE.top, this.x(now.start + (b + 1) * now.bin) - from, high);
    }
    let free = EDGE.left;
    for (const [from, until, said] of about.marks) {
      const x = this.x(from), w = until === null ? 0 : this.x(until) - x;
      g.fillStyle = text;
      g.globalAlpha = 0.12;
      if (w > 1) g.fillRect(x, EDGE.top, w, high);
      g.globalAlpha = 1;
      g.fillRect(x, EDGE.top - 6, 1, high + 6);
      if (x >= free) { const room = said.slice(0, 24); g.fillText(room, x + 3, EDGE.top - 10); free = x + 6 + g.measureText(room).width; }
    }
    const range = this.held?.to != null ? this.held.range : state.range;
    if (range) {
      const x = this.x(range[0]), w = Math.max(this.x(range[1]) - x, 1);
      g.fillStyle = g.strokeStyle = this.theme === "dark" ? "#8ab8ff" : "#0b5cad";
      g.globalAlpha = 0.16;
      g.fillRect(x, EDGE.top, w, high);
      g.globalAlpha = 1;
      g.lineWidth = 1.5;
      g.strokeRect(x, EDGE.top, w, high);
    }
    if (this.bin !== NONE) { g.fillStyle = text; g.fillRect(this.x(now.start + (this.bin + 0.5) * now.bin), EDGE.top, 1, high); }
  }

  hatch(g, colour) {
    const tile = element("canvas", { width: 6, height: 6 }), p = tile.getContext("2d");
    Object.assign(p, { strokeStyle: colour, lineWidth: 2 });
    for (const at of [0, 6, 12]) { p.moveTo(at - 7, 7); p.lineTo(at + 1, -1); }
    p.stroke();
    return g.createPattern(tile, "repeat");
  }

  // ---- reading out

  readout(bin) {
    const { now, about, state } = this, from = now.start + bin * now.bin, lines = [`${seconds(from, now.bin)} to ${seconds(from + now.bin, now.bin)}`];
    if (!now.recorded[bin]) return [...lines, "not recorded"];
    const kept = now.rates.reduce((sum, r) => sum + r[bin], 0), lost = now.lost[bin];
    lines.push(`all series: ${digits(kept)} events/s${now.fine ? `, up to ${digits(now.peak[bin])} in ${amount(now.fine * 1e9, "ns")}` : ""}`);
    if (lost > 0) lines.push(`lost: ${digits(lost)} events/s, so the rate lies between ${digits(kept)} and ${digits(kept + lost)}`);
    for (const [i, name] of about.names.entries()) if (!(state.hidden ?? []).includes(name) && now.rates[i][bin] > 0) lines.push(`${name}: ${digits(now.rates[i][bin])} events/s`);
    for (const [begin, until, said] of about.marks) if (begin < from + now.bin && (until ?? begin) >= from) lines.push(`mark: ${said}`);
    return lines;
  }

  show(bin) {
    this.bin = bin;
    this.tip.hidden = bin === NONE;
    this.draw();
    if (bin === NONE) return;
    this.tip.textContent = this.readout(bin).join("\n");
    const x = this.x(this.now.start + (bin + 0.5) * this.now.bin) + 6, w = this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(2, x + 12 + w > this.el.clientWidth ? x - w - 12 : x + 12)}px`;
    this.tip.style.top = `${this.canvas.offsetTop + EDGE.top}px`;
  }

  // ---- pointer and keys

  move(e) {
    const { held } = this, at = this.time(e.offsetX);
    if (!held) {
      const bin = Math.floor((at - this.now.start) / this.now.bin);
      this.show(e.offsetX < EDGE.left || e.offsetX > EDGE.left + this.width ? NONE : Math.min(Math.max(bin, 0), this.now.n - 1));
      return;
    }
    if (Math.abs(this.x(held.from) - e.offsetX) < 3 && held.to === null) return;
    held.to = at;
    held.range = [Math.min(held.from, at), Math.max(held.from, at)].map((t) => Number(t.toFixed(6)));
    this.bin = NONE;
    this.tip.hidden = true;
    this.draw();
  }

  drop() {
    const { held } = this;
    this.held = null;
    if (held?.to != null && held.range[1] > held.range[0]) this.select(held.range);
    else if (held) this.draw();
  }

  select(range) {
    this.keep({ range });
    this.tell();
  }

  tell() {
    const { range } = this.state;
    this.live.textContent = range ? `selected ${seconds(range[0])} to ${seconds(range[1])}` : HINT;
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const { now } = this, way = { ArrowLeft: -1, ArrowRight: 1 }[e.key], at = (b) => Number((now.start + b * now.bin).toFixed(6));
    const within = (b) => Math.min(Math.max(b, this.first), this.last - 1);
    let done = true;
    if (way && e.shiftKey) {
      const from = this.anchor ?? Math.max(this.bin, this.first);
      this.anchor = from;
      this.show(within((this.bin === NONE ? from : this.bin) + way));
      this.select([at(Math.min(from, this.bin)), at(Math.max(from, this.bin) + 1)]);
    } else if (way) { this.anchor = null; this.show(within(this.bin === NONE ? (way > 0 ? this.first : this.last - 1) : this.bin + way)); }
    else if (e.key === "Enter") this.zoom();
    else if (e.key === "Escape") {
      this.anchor = null;
      if (this.bin !== NONE) this.show(NONE);
      else if (this.state.range) this.select(null);
      else this.look(null);
    } else if (e.key === "+" || e.key === "-") {
      const [from, until] = this.span, middle = (from + until) / 2, half = ((until - from) / 2) * (e.key === "+" ? 0.6 : 1 / 0.6);
      this.look([middle - half, middle + half]);
    } else done = false;
    if (done) { e.preventDefault(); e.stopPropagation(); }
  }
}

export default {
  render({ host, el, signal }) {
    const rates = el.__rates = new Rates(el, host, signal);
    signal.addEventListener("abort", () => { if (el.__rates === rates) delete el.__rates; });
  },
};
