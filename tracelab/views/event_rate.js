// What makes the picture of event rates answer: a readout under the pointer or the arrow keys, series to switch off.
//
// The picture was drawn by rate_picture.py and stays as it is until a series is switched off. `data` is f32: the rates
// series by series, then what was lost, per second and bin. Recorded text reaches the page through textContent only.

const SVG = "http://www.w3.org/2000/svg";

// Round numbers from 0 to just above the highest, as rate_picture.ticks makes them.
function ticks(highest) {
  if (!(highest > 0)) return [0, 1];
  const rough = highest / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  return Array.from({ length: Math.ceil((highest / step) * 0.9999) + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

function stepPath(values, scale) {
  let path = "M0 0", level = 0, run = 0;
  for (const value of values) {
    const height = value > 0 && value * scale < 1 ? 1 : Math.round(value * scale);
    if (height !== level) { path += (run ? `h${run}` : "") + `v${level - height}`; level = height; run = 0; }
    run++;
  }
  return `${path}h${run}V0z`;
}

class Rates {
  constructor(el, host, signal) {
    const { meta, data } = host.first, n = meta.bins;
    this.meta = meta;
    const all = new Float32Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer);
    this.rates = meta.names.map((_, i) => all.subarray(i * n, (i + 1) * n));
    this.lost = all.subarray(meta.names.length * n);
    this.gaps = new Set(meta.gaps);
    this.on = meta.names.map(() => true);
    this.el = el;
    this.bin = -1;
    this.svg = el.querySelector("svg");
    this.svg.setAttribute("tabindex", "0");
    this.cursor = document.createElementNS(SVG, "line");
    this.cursor.setAttribute("class", "cursor");
    this.cursor.style.display = "none";
    this.svg.append(this.cursor);
    this.tip = document.createElement("div");
    this.tip.className = "tl-tip";
    this.tip.setAttribute("role", "status");
    this.tip.hidden = true;
    el.append(this.tip);
    const listen = (target, type, fn) => target.addEventListener(type, fn, { signal });
    listen(this.svg, "mousemove", (e) => this.show(this.at(e.clientX)));
    listen(this.svg, "mouseleave", () => this.show(-1));
    listen(this.svg, "blur", () => this.show(-1));
    listen(this.svg, "keydown", (e) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (!way && e.key !== "Escape") return;
      e.preventDefault();
      this.show(way ? Math.min(Math.max(this.bin + way, 0), n - 1) : -1);
    });
    for (const button of el.querySelectorAll("button[data-series]")) listen(button, "click", () => this.toggle(button));
  }

  at(clientX) {
    const [left, , width] = this.meta.plot, box = this.svg.getBoundingClientRect();
    const x = ((clientX - box.left) / box.width) * this.svg.viewBox.baseVal.width;
    const bin = Math.floor(((x - left) / width) * this.meta.bins);
    return bin >= 0 && bin < this.meta.bins ? bin : -1;
  }

  readout(bin) {
    const { meta } = this, from = meta.start + bin * meta.bin;
    const time = (s) => `${Number(s.toPrecision(6))} s`;
    const lines = [`${time(from)} to ${time(from + meta.bin)}`];
    if (this.gaps.has(bin)) return [...lines, "not recorded"];
    const kept = this.rates.reduce((sum, r) => sum + r[bin], 0), lost = this.lost[bin];
    lines.push(`all series: ${digits(kept)} events/s`);
    if (lost > 0) lines.push(`lost: ${digits(lost)} events/s, so the rate lies between ${digits(kept)} and ${digits(kept + lost)}`);
    for (const [i, name] of meta.names.entries()) if (this.on[i] && this.rates[i][bin] > 0) lines.push(`${name}: ${digits(this.rates[i][bin])} events/s`);
    return lines;
  }

  show(bin) {
    this.bin = bin;
    this.tip.hidden = bin < 0;
    this.cursor.style.display = bin < 0 ? "none" : "";
    if (bin < 0) return;
    const [left, top, width, height] = this.meta.plot, x = left + ((bin + 0.5) / this.meta.bins) * width;
    for (const [key, value] of Object.entries({ x1: x, x2: x, y1: top, y2: top + height })) this.cursor.setAttribute(key, value);
    this.tip.textContent = this.readout(bin).join("\n");
    const box = this.svg.getBoundingClientRect(), at = (x / this.svg.viewBox.baseVal.width) * box.width;
    const w = this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(2, at + 12 + w > box.width ? at - w - 12 : at + 12)}px`;
    this.tip.style.top = `${(top / this.svg.viewBox.baseVal.height) * box.height + 4}px`;
  }

  toggle(button) {
    const i = Number(button.dataset.series);
    this.on[i] = !this.on[i];
    button.setAttribute("aria-pressed", String(this.on[i]));
    this.redraw();
  }

  redraw() {
    const { meta } = this, [, top, , height] = meta.plot, sum = new Float64Array(meta.bins), layers = [];
    for (const [i, rate] of this.rates.entries()) {
      if (this.on[i]) for (let b = 0; b < meta.bins; b++) sum[b] += rate[b];
      layers.push(sum.slice());
    }
    const whole = sum.map((v, b) => v + this.lost[b]), levels = ticks(Math.max(...whole)), scale = height / levels.at(-1);
    for (const [i, values] of layers.entries()) {
      const path = this.svg.querySelector(`path[data-series="${i}"]`);
      path.setAttribute("d", stepPath(values, scale));
      path.style.display = this.on[i] ? "" : "none";
    }
    this.svg.querySelector("path.lost")?.setAttribute("d", stepPath(whole, scale));
    const axis = this.svg.querySelector("g.y"), line = axis.querySelector("line"), text = axis.querySelector("text");
    axis.replaceChildren(...levels.flatMap((value) => {
      const [mark, label] = [line.cloneNode(), text.cloneNode()], y = top + height - value * scale;
      mark.setAttribute("y1", y);
      mark.setAttribute("y2", y);
      label.setAttribute("y", y);
      label.textContent = short(value);
      return [mark, label];
    }));
  }
}

export default {
  render({ host, el, signal }) { el.__rates = new Rates(el, host, signal); },
};
