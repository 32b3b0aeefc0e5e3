// One canvas of a flame graph: what is drawn where, what lies under a point, zooming and panning.
//
// Only what can be seen is drawn. The range [lo, hi] of weight fills the width; a node that contains it covers all of it,
// so that the callers of what is zoomed in on stay in sight.

const { SMALL, GAP } = flametree, NONE = -1;
const ROW = 18, TINY = 0.5, LIMIT = 480, FONT = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
const SHADES = { plain: 1, above: 0.55, faint: 0.28 }; // opacity: of a frame, of a caller of the zoomed one, of no match

class Pane {
  // `owner` knows what a node is called and coloured, and hears of clicks, hovering and keys.
  constructor(owner, signal, label) {
    Object.assign(this, { owner, t: null, root: 0, lo: 0, hi: 1, focus: NONE, over: NONE, drawn: 0, up: false, match: null, rows: 1 });
    this.canvas = element("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "flame graph");
    this.canvas.setAttribute("aria-label", label);
    this.space = element("div", { className: "tl-space" }, this.canvas);
    this.scroll = element("div", { className: "tl-scroll" }, this.space);
    this.scroll.tabIndex = -1; // the canvas is what gets the focus
    const on = (target, type, fn, more = {}) => target.addEventListener(type, fn, { signal, ...more });
    on(this.canvas, "pointerdown", (e) => this.grab(e));
    on(this.canvas, "pointermove", (e) => this.move(e));
    on(this.canvas, "pointerup", (e) => this.drop(e));
    on(this.canvas, "pointerleave", () => this.hover(NONE));
    on(this.canvas, "contextmenu", (e) => { const i = this.hit(e.offsetX, e.offsetY); if (i > 0) { e.preventDefault(); owner.menu(this, i, e); } });
    on(this.canvas, "wheel", (e) => this.wheel(e), { passive: false });
    on(this.canvas, "keydown", (e) => owner.key(this, e));
    on(this.canvas, "focus", () => { if (this.focus === NONE && this.t) this.walk(this.root); this.draw(); });
    on(this.canvas, "blur", () => this.draw());
    on(this.scroll, "scroll", () => this.draw());
    const size = new ResizeObserver(() => this.draw());
    size.observe(this.scroll);
    signal.addEventListener("abort", () => size.disconnect());
  }

  show({ meta, t }, root = 0) {
    Object.assign(this, { meta, t, focus: NONE, over: NONE, match: null });
    this.zoom(root);
  }

  // ---- geometry

  zoom(i) {
    const { t } = this;
    if (t.frame[i] === SMALL) i = t.parent[i];
    Object.assign(this, { root: i, lo: t.left[i], hi: t.left[i] + (t.total[i] || 1), focus: i });
    this.fit();
    this.hover(NONE);
    this.aim(i);
    this.draw();
  }

  // As many rows as what is zoomed in on is deep.
  fit() {
    const { t, root } = this;
    let deepest = t.depth[root];
    for (let j = root; j < t.end[root]; j++) if (t.depth[j] > deepest && t.frame[j] !== GAP) deepest = t.depth[j];
    this.rows = deepest + 1;
    this.space.style.height = `${this.rows * ROW}px`;
    if (!this.scroll.closest(".tl-fill")) this.scroll.style.height = `${Math.min(this.rows * ROW + 2, LIMIT)}px`;
  }

  // Shows a range of weight; the node that contains it is what is zoomed in on.
  range(lo, hi) {
    const { t } = this, whole = t.total[0] || 1, width = Math.min(Math.max(hi - lo, whole * 1e-9), whole);
    this.lo = Math.min(Math.max(lo, 0), whole - width);
    this.hi = this.lo + width;
    let i = 0;
    for (let child = 1; child < t.end[i];) {
      if (t.left[child] <= this.lo && t.left[child] + t.total[child] >= this.hi && t.frame[child] >= 0) { i = child; child = i + 1; }
      else child = t.left[child] >= this.hi ? t.end[i] : t.end[child];
    }
    if (i !== this.root) { this.root = i; this.fit(); }
    this.draw();
  }

  turn(up) {
    this.up = up;
    this.aim(this.root);
    this.draw();
  }

  get scale() { return this.width / (this.hi - this.lo || 1); }

  top(depth) { return (this.up ? this.rows - 1 - depth : depth) * ROW - this.scroll.scrollTop; }

  // What a node covers of the canvas.
  rect(i) {
    const { t, scale } = this, x = (t.left[i] - this.lo) * scale, w = t.total[i] * scale;
    const from = Math.max(x, 0), to = Math.min(x + w, this.width);
    return { x: from, y: this.top(t.depth[i]), w: Math.max(to - from, 0), h: ROW };
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
    const { t } = this, row = Math.floor((y + this.scroll.scrollTop) / ROW);
    const depth = this.up ? this.rows - 1 - row : row;
    if (depth < 0 || depth >= this.rows || x < 0 || x >= this.width) return NONE;
    const at = this.lo + x / this.scale;
    let i = 0;
    while (t.depth[i] < depth) {
      let child = i + 1;
      while (child < t.end[i] && at >= t.left[child] + t.total[child]) child = t.end[child];
      if (child >= t.end[i]) return NONE;
      i = child;
    }
    return t.frame[i] === GAP ? NONE : i;
  }

  // ---- drawing

  draw() {
    const { t, canvas, scroll, owner, root } = this;
    const width = this.width = scroll.clientWidth, height = scroll.clientHeight;
    if (!width || !height || !t || owner.still) return; // an iframe has no width at first
    const g = this.g = fitted(canvas, width, height), { back, text, name: theme } = owner.theming(), { meta } = this;
    Object.assign(g, { fillStyle: back, font: FONT, textBaseline: "middle" });
    g.fillRect(0, 0, width, height);
    const fills = new Map(), strips = [], labels = [], outlines = [], { scale, lo, hi } = this;
    let drawn = 0;
    const put = (i, x, w) => {
      const y = this.top(t.depth[i]);
      if (y + ROW <= 0 || y >= height || t.frame[i] === GAP) return;
      drawn++;
      if (t.frame[i] === SMALL) { strips.push(x, y, w); return; }
      const faint = this.match !== null && !this.match[i];
      const fill = `${faint ? "faint" : i < root && t.end[i] > root ? "above" : "plain"} ${owner.fill(this, i)}`;
      if (!fills.has(fill)) fills.set(fill, []);
      fills.get(fill).push(x, y, w);
      if (owner.domain(this, i) === "bpf" && w > 3) outlines.push([x, y, w]);
      if (w > 24) labels.push([i, x, y, w, faint]);
    };
    for (let i = 0; i < t.n;) {
      const from = t.left[i], w = t.total[i] * scale, x = (from - lo) * scale;
      if (from >= hi && i) { i = t.end[t.parent[i]]; continue; }
      if (from + t.total[i] <= lo && i) { i = t.end[i]; continue; }
      if (w < TINY && i) {
        if (t.inTime) { i = t.end[i]; continue; }
        const up = t.parent[i], stop = t.strip[up] > i ? t.strip[up] : t.end[up]; // all later siblings are as thin, but for the strip
        const until = t.strip[up] > i ? t.left[stop] : t.left[up] + t.total[up] - t.own[up];
        if ((until - from) * scale >= 1) strips.push(x, this.top(t.depth[i]), (until - from) * scale);
        i = stop;
        continue;
      }
      const begin = Math.max(x, -2);
      put(i, begin, Math.min(x + w, width + 2) - begin);
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
      const bpf = owner.domain(this, i) === "bpf", name = owner.name(this, i);
      const left = Math.max(x, 0) + 4, room = Math.min(x + w, width) - left - 3, fit = Math.floor(room / char);
      if (fit < 2) continue;
      g.font = bpf ? `bold ${FONT}` : FONT;
      Object.assign(g, { globalAlpha: faint ? 0.6 : 1, fillStyle: faint || (i < root && t.end[i] > root) ? text : owner.ink(this, i) });
      g.fillText(name.length > fit ? `${name.slice(0, fit - 1)}…` : name, left, y + ROW / 2, room);
    }
    g.globalAlpha = 1;
    if (t.inTime) this.axis(g, back, text);
    if (this.over !== NONE) this.ring(this.over, 1.5, text);
    if (this.focus !== NONE && document.activeElement === canvas) {
      this.ring(this.focus, 3.5, theme === "dark" ? "#000" : "#fff");
      this.ring(this.focus, 2, theme === "dark" ? "#fff" : "#000");
    }
  }

  // Within one thread of a flame chart, the row of the root tells the time.
  axis(g, back, text) {
    const { t, root, lo, hi, scale, meta, width } = this;
    let lane = root;
    while (t.depth[lane] > 1) lane = t.parent[lane];
    if (!lane) return;
    const from = meta.startNs + (lo - t.left[lane]), span = hi - lo, y = this.top(0);
    const power = 10 ** Math.floor(Math.log10(span / 6)), step = power * [1, 2, 5, 10].find((m) => m * power >= span / 6);
    Object.assign(g, { fillStyle: back });
    g.fillRect(0, y, width, ROW);
    Object.assign(g, { fillStyle: text, font: FONT });
    for (let at = Math.ceil(from / step) * step; at < from + span; at += step) {
      const x = (at - from) * scale;
      g.fillRect(x, y + ROW - 5, 1, 4);
      g.fillText(`${Number((at / 1e9).toPrecision(9))} s`, x + 3, y + ROW / 2 - 1);
    }
  }

  hatch(strips, fill, line) {
    if (!strips.length) return;
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
    const { x, y, w, h } = this.rect(i);
    Object.assign(this.g, { strokeStyle: colour, lineWidth: thick });
    this.g.strokeRect(x + 1, y + 0.5, Math.max(w - 2.5, 3), h - 2);
  }

  // ---- pointer

  grab(e) {
    if (e.button !== 0) return;
    this.held = { x: e.offsetX, y: e.offsetY, lo: this.lo, hi: this.hi, top: this.scroll.scrollTop, moved: false };
    this.canvas.setPointerCapture?.(e.pointerId);
  }

  move(e) {
    const { held } = this;
    if (!held) { this.hover(this.hit(e.offsetX, e.offsetY), e); return; }
    const dx = e.offsetX - held.x, dy = e.offsetY - held.y;
    if (!held.moved && Math.abs(dx) + Math.abs(dy) < 5) return;
    held.moved = true;
    this.hover(NONE);
    this.scroll.scrollTop = held.top - dy;
    const by = (dx / this.width) * (held.hi - held.lo);
    this.range(held.lo - by, held.hi - by);
  }

  drop(e) {
    const { held } = this;
    this.held = null;
    if (!held) return;
    if (held.moved) { this.owner.moved(this); return; }
    const i = this.hit(e.offsetX, e.offsetY);
    if (i !== NONE) this.owner.chosen(this, i);
  }

  // With Ctrl (or a pinch) it zooms, sideways it pans; else the page scrolls as it always does.
  wheel(e) {
    const across = e.shiftKey ? e.deltaY : Math.abs(e.deltaX) > Math.abs(e.deltaY) ? e.deltaX : 0;
    if (!(e.ctrlKey || e.metaKey) && !across) return;
    e.preventDefault();
    if (across) this.pan(across / this.width);
    else this.closer(Math.exp(e.deltaY * 0.002), e.offsetX / this.width);
  }

  pan(share) {
    const by = share * (this.hi - this.lo);
    this.range(this.lo + by, this.hi + by);
    this.owner.moved(this);
  }

  closer(factor, at = 0.5) {
    const middle = this.lo + at * (this.hi - this.lo);
    this.range(middle - (middle - this.lo) * factor, middle + (this.hi - middle) * factor);
    this.owner.moved(this);
  }

  hover(i, e) {
    if (i !== this.over) {
      this.over = i;
      this.draw();
    }
    this.owner.point(this, i, e);
  }

  // ---- keyboard's focus

  // Moves the focus; outside of what is zoomed in on, the zoom follows.
  walk(i) {
    const { t } = this;
    if (t.depth[i] > t.depth[this.root] && (i < this.root || i >= t.end[this.root])) this.zoom(0);
    this.focus = i;
    this.reveal(i);
    this.draw();
    this.owner.say(this, i);
  }

  // The next node at the same depth, inside of what is zoomed in on.
  beside(i, way) {
    const { t, root } = this;
    for (let j = way > 0 ? t.end[i] : i - 1; j > root && j < t.end[root]; j += way) if (t.depth[j] === t.depth[i] && t.frame[j] !== GAP) return j;
    return i;
  }

  within(i) {
    const { t } = this;
    for (let j = i + 1; j < t.end[i]; j = t.end[j]) if (t.frame[j] !== GAP) return j;
    return i;
  }
}

export default Pane;
