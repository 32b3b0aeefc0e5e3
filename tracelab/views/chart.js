// What makes the picture of a chart answer: what stands under the pointer, or where the arrow keys go, is read out.
//
// The picture was drawn by chart_picture.py and is not touched. `data` is f32, four numbers per readout: left, top,
// right and bottom in the picture's own pixels; meta has the words. Recorded text reaches the page by textContent only.

const SVG = "http://www.w3.org/2000/svg";

class Readouts {
  constructor(el, host, signal) {
    const { meta, data } = host.first;
    this.texts = meta.texts;
    this.panels = meta.panels;
    const boxes = columns(data, [["boxes", Float32Array, 4 * meta.texts.length]]).boxes;
    this.boxes = meta.texts.map((_, i) => Array.from(boxes.subarray(4 * i, 4 * i + 4)));
    this.at = -1;
    this.svg = el.querySelector("svg");
    this.svg.setAttribute("tabindex", "0");
    this.frame = document.createElementNS(SVG, "rect");
    this.frame.setAttribute("class", "tl-at");
    this.tip = element("div", { className: "tl-tip", hidden: true });
    this.tip.setAttribute("role", "status");
    this.svg.append(this.frame);
    el.append(this.tip);
    const listen = (type, fn) => this.svg.addEventListener(type, fn, { signal });
    listen("pointermove", (e) => this.show(this.under(e)));
    listen("pointerdown", (e) => this.show(this.under(e)));
    listen("pointerleave", () => this.show(-1));
    listen("blur", () => this.show(-1));
    listen("keydown", (e) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const last = this.boxes.length - 1, next = { Home: 0, End: last, Escape: -1 }[e.key];
      if (!ways[e.key] && next === undefined) return;
      e.preventDefault();
      this.show(next ?? (this.at < 0 ? (last < 0 ? -1 : 0) : this.beside(...ways[e.key])));
    });
  }

  // The smallest box that the pointer is in: a point lies in front of the moment that it is in.
  under(e) {
    const box = this.svg.getBoundingClientRect(), scale = this.svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(e.clientX - box.left) * scale, (e.clientY - box.top) * scale];
    let best = -1, least = Infinity;
    for (const [i, [left, top, right, bottom]] of this.boxes.entries()) {
      if (x < left || x >= right || y < top || y >= bottom) continue;
      const size = (right - left) * (bottom - top);
      if (size < least) [best, least] = [i, size];
    }
    return best;
  }

  // The nearest box in a direction; sideways those of the same row come first.
  beside(across, down) {
    const middle = ([left, top, right, bottom]) => [(left + right) / 2, (top + bottom) / 2];
    const [x, y] = middle(this.boxes[this.at]);
    let best = this.at, least = Infinity;
    for (const [i, box] of this.boxes.entries()) {
      const [dx, dy] = middle(box).map((v, k) => v - [x, y][k]), ahead = dx * across + dy * down;
      if (ahead <= 1e-3) continue;
      const aside = Math.abs(across ? dy : dx), far = ahead + (across ? 1000 : 2) * aside;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  show(at) {
    this.at = at;
    this.tip.hidden = at < 0;
    this.frame.style.display = at < 0 ? "none" : "";
    if (at < 0) return;
    const [left, top, right, bottom] = this.boxes[at];
    const placed = { x: left, y: top, width: Math.max(right - left, 1), height: bottom - top };
    for (const [key, value] of Object.entries(placed)) this.frame.setAttribute(key, value);
    this.tip.textContent = this.texts[at];
    const box = this.svg.getBoundingClientRect(), scale = box.width / this.svg.viewBox.baseVal.width;
    const [w, h] = [this.tip.offsetWidth, this.tip.offsetHeight], x = right * scale + 10;
    this.tip.style.left = `${Math.max(2, x + w > box.width ? left * scale - w - 10 : x)}px`;
    this.tip.style.top = `${Math.max(2, Math.min(top * scale + 4, box.height - h - 2))}px`;
  }
}

export default {
  render({ host, el, signal }) { el.__chart = new Readouts(el, host, signal); },
};
