// A flame graph on a canvas, for the live widget (anywidget) and for saved pages alike. No dependencies.
//
// Python has folded, pruned and sorted. `data` is a struct of arrays over n nodes in preorder, siblings by
// descending weight: self f64[n], frame i32[n], depth i32[n], pruned i32[n], little-endian; frame -1 is the root
// of everything, -2 a strip of frames too light to be kept, last among its siblings. `meta` has the names and
// colours (see flamegraph.py). Recorded text reaches the page through textContent and canvas only.

const ROW = 18, TINY = 0.5, FONT = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
const ROOT = -1, SMALL = -2, NONE = -1, LIMIT = 480;
const LEGEND = "share by innermost frame; bpf with all that eBPF programs called";
const HINT = "Click a frame to zoom in, point at it for its numbers; with the keyboard: arrows, Enter, Escape, / to search.";
const SHADES = { plain: 1, above: 0.55, faint: 0.28 }; // opacity: of a frame, of a caller of the zoomed one, of no match

function readTree(meta, data) {
  const n = meta.nodes;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer;
  const own = new Float64Array(bytes, 0, n);
  const [frame, depth, pruned] = [0, 1, 2].map((k) => new Int32Array(bytes, 8 * n + 4 * n * k, n));
  const parent = new Int32Array(n), end = new Int32Array(n).fill(n), strip = new Int32Array(n);
  const total = own.slice(), left = new Float64Array(n);
  const path = [0];
  for (let i = 1; i < n; i++) {
    while (path.length > depth[i]) end[path.pop()] = i;
    parent[i] = path[path.length - 1];
    path.push(i);
    if (frame[i] === SMALL) strip[parent[i]] = i;
  }
  for (let i = n - 1; i > 0; i--) total[parent[i]] += total[i];
  const next = [0];
  for (let i = 0; i < n; i++) {
    left[i] = next[depth[i]];
    next[depth[i]] += total[i];
    next[depth[i] + 1] = left[i];
  }
  return { n, own, frame, depth, pruned, parent, end, strip, total, left };
}

// A plain text is found anywhere and in any case; /text/ is a regular expression.
function matcher(text) {
  const given = /^\/(.*)\/(i?)$/s.exec(text);
  if (given) { const re = new RegExp(given[1], given[2]); return (name) => re.test(name); }
  const low = text.toLowerCase();
  return (name) => name.toLowerCase().includes(low);
}

class Flame {
  constructor(el, host, signal) {
    Object.assign(this, { el, host, root: 0, focus: NONE, over: NONE, drawn: 0, up: false, match: null });
    this.build();
    this.listen(signal);
    this.load();
  }

  load() {
    const { meta, data } = this.host.first;
    this.meta = meta;
    this.t = readTree(meta, data);
    Object.assign(this, { root: 0, focus: NONE, over: NONE, match: null });
    this.title.textContent = meta.title;
    const lines = (texts, className) => texts.map((textContent) => element("p", { textContent, className }));
    this.about.replaceChildren(...lines(meta.about, ""), ...lines(meta.notes, "tl-note"));
    this.legend.replaceChildren();
    this.swatches = Object.entries(meta.domains).map(([domain, weight]) => {
      const mark = element("span", { className: "tl-swatch" });
      mark.dataset.domain = domain;
      const text = weight > 0 ? `${domain} ${percent(weight / this.t.total[0])}` : domain;
      this.legend.append(element("span", { className: "tl-legend", title: LEGEND }, mark, text));
      return mark;
    });
    this.zoom(0, false);
    this.search(this.box.value);
    this.live.textContent = this.t.n > 1 ? HINT : "";
  }

  build() {
    this.title = element("span", { className: "tl-title" });
    this.box = element("input", { type: "search", placeholder: "search text or /regex/", ariaLabel: "search functions" });
    this.matched = element("span", { className: "tl-matched", role: "status" });
    this.back = element("button", { type: "button", textContent: "show all", title: "zoom out to everything (0)" });
    this.flip = element("button", { type: "button", textContent: "root at bottom", title: "turn upside down (i)" });
    this.legend = element("span", { className: "tl-bar" });
    this.canvas = element("canvas", { tabIndex: 0, role: "application", ariaLabel: "flame graph: arrow keys walk the "
      + "frames, Enter zooms, Escape goes up, 0 shows all, slash searches, n and Shift-N step through what was found" });
    this.space = element("div", { className: "tl-space" }, this.canvas);
    this.scroll = element("div", { className: "tl-scroll" }, this.space);
    this.live = element("div", { className: "tl-live", ariaLive: "polite" });
    this.about = element("div", { className: "tl-about" });
    this.tip = element("div", { className: "tl-tip", hidden: true });
    this.el.classList.add("tl-flame");
    this.el.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take n, 0 and i for its own
    const bar = element("div", { className: "tl-bar" }, this.title, this.box, this.matched, this.back, this.flip);
    this.el.replaceChildren(bar, this.legend, this.scroll, this.live, this.about, this.tip);
  }

  listen(signal) {
    const on = (target, type, fn) => target.addEventListener(type, fn, { signal });
    on(this.canvas, "click", (e) => { const i = this.hit(e.offsetX, e.offsetY); if (i !== NONE) this.zoom(i); });
    on(this.canvas, "mousemove", (e) => this.hover(e));
    on(this.canvas, "mouseleave", () => this.hover(null));
    on(this.canvas, "keydown", (e) => this.key(e));
    on(this.canvas, "focus", () => { if (this.focus === NONE) this.walk(this.root); this.draw(); });
    on(this.canvas, "blur", () => this.draw());
    on(this.scroll, "scroll", () => this.draw());
    on(this.box, "input", () => this.search(this.box.value));
    on(this.box, "keydown", (e) => {
      if (e.key === "Enter") this.step(e.shiftKey ? -1 : 1);
      if (e.key === "Escape") { this.box.value = ""; this.search(""); this.canvas.focus(); }
    });
    on(this.back, "click", () => this.zoom(0));
    on(this.flip, "click", () => this.turn());
    const size = new ResizeObserver(() => this.draw());
    size.observe(this.scroll);
    onTheme(() => this.draw(), signal);
    const ends = this.host.on("first", () => this.load());
    signal.addEventListener("abort", () => { size.disconnect(); ends(); });
  }

  // ---- geometry

  zoom(i, tell = true) {
    const { t } = this;
    if (t.frame[i] === SMALL) i = t.parent[i];
    this.root = i;
    let deepest = t.depth[i];
    for (let j = i; j < t.end[i]; j++) if (t.depth[j] > deepest) deepest = t.depth[j];
    this.rows = deepest + 1;
    this.space.style.height = `${this.rows * ROW}px`;
    if (!this.el.classList.contains("tl-fill")) this.scroll.style.height = `${Math.min(this.rows * ROW + 2, LIMIT)}px`;
    this.back.disabled = i === 0;
    this.focus = i;
    this.hover(null);
    this.aim(i);
    if (this.match) this.count();
    this.draw();
    if (tell) {
      this.say(i);
      this.host.keep({ selection: this.path(i) });
    }
  }

  turn() {
    this.up = !this.up;
    this.flip.textContent = this.up ? "root at top" : "root at bottom";
    this.aim(this.root);
    this.draw();
  }

  top(depth) { return (this.up ? this.rows - 1 - depth : depth) * ROW - this.scroll.scrollTop; }

  // What a node covers of the canvas; callers of the zoomed node cover its whole width.
  rect(i) {
    const { t, root, width } = this, scale = width / (t.total[root] || 1);
    if (t.depth[i] < t.depth[root]) return { x: 0, y: this.top(t.depth[i]), w: width, h: ROW };
    return { x: (t.left[i] - t.left[root]) * scale, y: this.top(t.depth[i]), w: t.total[i] * scale, h: ROW };
  }

  // Scrolls so that as much as possible of a subtree is seen, and two callers.
  aim(i) {
    const { up, scroll, rows } = this, depth = this.t.depth[i];
    scroll.scrollTop = up ? (rows - depth + 2) * ROW - scroll.clientHeight : (depth - 2) * ROW;
  }

  reveal(i) {
    const y = this.top(this.t.depth[i]), height = this.scroll.clientHeight;
    if (y < 0) this.scroll.scrollTop += y - ROW;
    else if (y + ROW > height) this.scroll.scrollTop += y + 2 * ROW - height;
  }

  hit(x, y) {
    const { t, root } = this, row = Math.floor((y + this.scroll.scrollTop) / ROW);
    const depth = this.up ? this.rows - 1 - row : row;
    if (depth < 0 || depth >= this.rows || x < 0 || x >= this.width) return NONE;
    let i = root;
    if (depth < t.depth[i]) { while (t.depth[i] > depth) i = t.parent[i]; return i; }
    const at = t.left[root] + (x / this.width) * t.total[root];
    while (t.depth[i] < depth) {
      let child = i + 1;
      while (child < t.end[i] && at >= t.left[child] + t.total[child]) child = t.end[child];
      if (child >= t.end[i]) return NONE;
      i = child;
    }
    return i;
  }

  // ---- drawing

  draw() {
    const { t, canvas, scroll, root, meta } = this;
    const width = this.width = scroll.clientWidth, height = scroll.clientHeight;
    if (!width || !height || !meta) return; // an iframe has no width at first
    const g = this.g = fitted(canvas, width, height);
    const { back, text, name: theme } = themeOf(this.el);
    this.theme = this.el.dataset.theme = theme;
    for (const mark of this.swatches) mark.style.background = this.colour(mark.dataset.domain, 2);

    Object.assign(g, { fillStyle: back, font: FONT, textBaseline: "middle" });
    g.fillRect(0, 0, width, height);
    const fills = new Map(), strips = [], labels = [], outlines = [];
    const scale = width / (t.total[root] || 1), x0 = t.left[root];
    let drawn = 0;
    const put = (i, x, w) => {
      const y = this.top(t.depth[i]);
      if (y + ROW <= 0 || y >= height) return;
      drawn++;
      if (t.frame[i] === SMALL) { strips.push(x, y, w); return; }
      const faint = this.match !== null && !this.match[i];
      const fill = `${faint ? "faint" : i < root ? "above" : "plain"} ${this.fill(i)}`;
      if (!fills.has(fill)) fills.set(fill, []);
      fills.get(fill).push(x, y, w);
      if (this.domain(i) === "bpf" && w > 3) outlines.push([x, y, w]);
      if (w > 24) labels.push([i, x, y, w, faint]);
    };
    for (let i = root; i > 0;) { i = t.parent[i]; put(i, 0, width); }
    for (let i = root; i < t.end[root];) {
      const w = t.total[i] * scale, x = (t.left[i] - x0) * scale;
      if (w < TINY && i !== root) { // all later siblings are as thin, but for the strip of small frames
        const up = t.parent[i], stop = t.strip[up] > i ? t.strip[up] : t.end[up];
        const until = t.strip[up] > i ? t.left[stop] : t.left[up] + t.total[up] - t.own[up];
        const y = this.top(t.depth[i]);
        if ((until - t.left[i]) * scale >= 1) strips.push(x, y, (until - t.left[i]) * scale);
        i = stop;
        continue;
      }
      put(i, x, w);
      const below = this.up ? this.top(t.depth[i]) <= 0 : this.top(t.depth[i]) >= height;
      i = below ? t.end[i] : i + 1;
    }
    this.drawn = drawn;
    for (const [fill, boxes] of fills) {
      const [shade, colour] = fill.split(" ");
      Object.assign(g, { globalAlpha: SHADES[shade], fillStyle: colour });
      for (let j = 0; j < boxes.length; j += 3) {
        const w = boxes[j + 2];
        g.fillRect(boxes[j], boxes[j + 1], w > 2 ? w - 0.5 : w, ROW - 1);
      }
    }
    Object.assign(g, { globalAlpha: 1, strokeStyle: text, lineWidth: 1 });
    this.hatch(strips, meta.smallColours[theme], text);
    for (const [x, y, w] of outlines) g.strokeRect(x + 0.5, y + 0.5, w - 1.5, ROW - 2);
    const char = g.measureText("0").width;
    for (const [i, x, y, w, faint] of labels) {
      const bpf = this.domain(i) === "bpf", name = this.name(i);
      const left = Math.max(x, 0) + 4, room = Math.min(x + w, width) - left - 3, fit = Math.floor(room / char);
      if (fit < 2) continue;
      g.font = bpf ? `bold ${FONT}` : FONT;
      Object.assign(g, { globalAlpha: faint ? 0.6 : 1, fillStyle: faint || i < root ? text : bpf ? meta.bpfInk : meta.ink });
      g.fillText(name.length > fit ? `${name.slice(0, fit - 1)}…` : name, left, y + ROW / 2, room);
    }
    g.globalAlpha = 1;
    if (this.over !== NONE) this.ring(this.over, 1.5, text);
    if (this.focus !== NONE && document.activeElement === canvas) {
      this.ring(this.focus, 3.5, theme === "dark" ? "#000" : "#fff");
      this.ring(this.focus, 2, theme === "dark" ? "#fff" : "#000");
    }
  }

  hatch(strips, fill, line) {
    const tile = element("canvas", { width: 6, height: 6 }), p = tile.getContext("2d");
    p.fillStyle = fill;
    p.fillRect(0, 0, 6, 6);
    Object.assign(p, { strokeStyle: line, globalAlpha: 0.35 });
    for (const at of [0, 6, 12]) { p.moveTo(at - 7, 7); p.lineTo(at + 1, -1); }
    p.stroke();
    this.g.fillStyle = this.g.createPattern(tile, "repeat");
    for (let j = 0; j < strips.length; j += 3) this.g.fillRect(strips[j], strips[j + 1], strips[j + 2], ROW - 1);
  }

  ring(i, thick, colour) {
    const { x, y, w, h } = this.rect(i), left = Math.max(x, 0), right = Math.min(x + w, this.width);
    Object.assign(this.g, { strokeStyle: colour, lineWidth: thick });
    this.g.strokeRect(left + 1, y + 0.5, Math.max(right - left - 2.5, 3), h - 2);
  }

  colour(domain, shade) {
    const known = this.meta.colours[this.theme];
    return known[Object.hasOwn(known, domain) ? domain : "user"][shade];
  }

  fill(i) {
    const f = this.t.frame[i];
    return f === ROOT ? this.meta.rootColours[this.theme] : this.colour(this.meta.domain[f], this.meta.shade[this.meta.module[f]]);
  }

  // ---- what a node is

  domain(i) { return this.t.frame[i] < 0 ? "" : this.meta.domain[this.t.frame[i]]; }

  name(i) {
    const f = this.t.frame[i];
    if (f === ROOT) return `all ${amount(this.t.total[0], this.meta.unit)}`;
    return f === SMALL ? `${digits(this.t.pruned[i])} frames too light to keep` : this.meta.names[f];
  }

  path(i) {
    const names = [];
    for (; i > 0; i = this.t.parent[i]) names.unshift(this.name(i));
    return names;
  }

  // Lines on a node: its name first.
  facts(i) {
    const { t, meta, root } = this, f = t.frame[i], show = (v) => amount(v, meta.unit);
    const inZoom = root > 0 && i >= root && i < t.end[root] ? `, ${percent(t.total[i] / t.total[root])} of zoom` : "";
    const lines = [this.name(i), `total ${show(t.total[i])}, ${percent(t.total[i] / t.total[0])} of all${inZoom}`];
    if (f === SMALL) return [...lines, "merged to keep the page small; .table has them all"];
    lines.push(`self ${show(t.own[i])}, ${percent(t.own[i] / t.total[0])} of all`);
    if (f === ROOT) return lines;
    const module = meta.modules[meta.module[f]], file = meta.files[meta.file[f]];
    lines.push(module ? `${meta.domain[f]}, in ${module}` : meta.domain[f]);
    const [line, last] = [meta.line[f], meta.lastLine[f]];
    if (file) lines.push(file + (line ? `:${line}${last > line ? `-${last}` : ""}` : ""));
    return lines;
  }

  say(i) { this.live.textContent = this.facts(i).join("; "); }

  hover(e) {
    const i = e ? this.hit(e.offsetX, e.offsetY) : NONE;
    if (i !== this.over) {
      this.over = i;
      this.draw();
      if (i !== NONE) {
        const [name, ...rest] = this.facts(i);
        this.tip.replaceChildren(element("b", { textContent: name }), ...rest.map((s) => element("div", { textContent: s })));
      }
    }
    this.tip.hidden = i === NONE;
    if (i === NONE) return;
    const box = this.el.getBoundingClientRect(), { offsetWidth: w, offsetHeight: h } = this.tip;
    const x = e.clientX - box.left, y = e.clientY - box.top;
    this.tip.style.left = `${Math.max(2, Math.min(x + 14, box.width - w - 4))}px`;
    this.tip.style.top = `${Math.max(2, y + 18 + h > box.height ? y - h - 10 : y + 18)}px`;
  }

  // ---- keys

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const { t } = this, i = this.focus === NONE ? this.root : this.focus;
    const inward = () => this.walk(i + 1 < t.end[i] ? i + 1 : i), outward = () => this.walk(t.parent[i]);
    const back = () => this.zoom(t.parent[this.root]);
    const actions = {
      ArrowDown: this.up ? outward : inward, ArrowUp: this.up ? inward : outward, Enter: () => this.zoom(i),
      ArrowRight: () => this.walk(this.beside(i, 1)), ArrowLeft: () => this.walk(this.beside(i, -1)),
      Escape: back, Backspace: back, 0: () => this.zoom(0), i: () => this.turn(),
      "/": () => this.box.focus(), n: () => this.step(1), N: () => this.step(-1),
    };
    if (!actions[e.key]) return;
    e.preventDefault();
    e.stopPropagation();
    actions[e.key]();
  }

  // Moves the keyboard's focus; outside of what is zoomed in on, the zoom follows.
  walk(i) {
    const { t } = this;
    if (t.depth[i] > t.depth[this.root] && (i < this.root || i >= t.end[this.root])) this.zoom(0, false);
    this.focus = i;
    this.reveal(i);
    this.draw();
    this.say(i);
  }

  // The next node at the same depth, inside of what is zoomed in on.
  beside(i, way) {
    const { t, root } = this;
    for (let j = way > 0 ? t.end[i] : i - 1; j > root && j < t.end[root]; j += way) if (t.depth[j] === t.depth[i]) return j;
    return i;
  }

  // ---- search

  search(text) {
    const { t, meta } = this;
    let found = null;
    this.matched.textContent = "";
    try { found = text && meta.names.map(matcher(text)); } catch (error) { this.matched.textContent = error.message; }
    this.match = found ? Uint8Array.from(t.frame, (f) => (f >= 0 && found[f] ? 1 : 0)) : null;
    this.draw();
    return this.match ? this.count() : null;
  }

  // Share of what is zoomed in on whose stack has a match: a match inside a match counts once.
  count() {
    const { t, match, root } = this;
    let weight = 0, unknown = 0, caller = root; // a match among the callers of what is zoomed in on is in every stack
    while (caller > 0 && !match[caller]) caller = t.parent[caller];
    if (caller > 0) weight = t.total[root];
    for (let i = root; caller === 0 && i < t.end[root];) {
      if (match[i]) weight += t.total[i];
      else if (t.frame[i] === SMALL) unknown += t.total[i];
      i = match[i] ? t.end[i] : i + 1;
    }
    const whole = t.total[root] || 1;
    const more = unknown > 0 ? `, up to ${percent(unknown / whole)} more in merged frames` : "";
    this.matched.textContent = `matched ${percent(weight / whole)}${root ? " of zoom" : ""}${more}`;
    return weight / whole;
  }

  step(way) {
    const { t, match } = this;
    if (!match) return;
    let i = (this.focus + way + t.n) % t.n;
    for (let k = 1; k < t.n && !match[i]; k++) i = (i + way + t.n) % t.n;
    if (!match[i]) return;
    if (i < this.root || i >= t.end[this.root]) this.zoom(0, false);
    let near = i; // zoom just enough to see it
    while (near > 0 && t.total[near] < 20 * t.total[i]) near = t.parent[near];
    if (this.rect(i).w < 8) this.zoom(near, false);
    this.walk(i);
  }
}

export default {
  render({ host, el, signal }) {
    const flame = el.__flame = new Flame(el, host, signal);
    signal.addEventListener("abort", () => { if (el.__flame === flame) delete el.__flame; });
  },
};
