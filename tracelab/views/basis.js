// What every drawn view stands on: numbers in words, by the rules of wording.py; elements; the theme of the page.
//
// A view is one module beside its Python, `export default { render({ host, el, signal }) }`. `host` is the same whether
// a kernel answers (live.js), the page is alone (saved.js), or another view holds this one:
//   host.first             { meta, data }: what Python has sent; data is a DataView
//   host.alone             true where no kernel will ever answer
//   host.ask(question)     a promise of { meta, data }, rejected with an Error that says why not
//   host.state             what a person has set: plain JSON, the same in Python (view.state)
//   host.keep(changes)     merges changes into the state and tells Python
//   host.on(name, fn)      "state": Python has changed the state; "first": there is new data. Gives what ends it.

function digits(v) {
  const size = Math.abs(v);
  if (Number.isInteger(v) || size >= 100) return Math.round(v).toLocaleString("en-US");
  return size < 1 ? String(Number(v.toPrecision(3))) : v.toFixed(size < 10 ? 2 : 1);
}

function short(v) {
  for (const [scale, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(v) >= scale) return digits(v / scale) + letter;
  return digits(v);
}

function amount(v, unit) {
  if (unit === "share") return percent(v);
  const [base, ...per] = unit.split("/");
  if (per.length) return `${amount(v, base)}/${per.join("/")}`;
  const times = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  const sizes = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
  for (const [scale, name] of unit === "ns" ? times : unit === "bytes" ? sizes : []) if (Math.abs(v) >= scale) return `${digits(v / scale)} ${name}`;
  return `${digits(v)} ${unit}`;
}

function percent(share) { return share > 0 && share < 1e-4 ? "<0.01 %" : `${digits(100 * share)} %`; }

function element(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

// Typed arrays over what Python has packed: [name, kind, length] one after the other, little-endian, widest first.
function columns(data, layout) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer, found = {};
  let at = 0;
  for (const [name, Kind, length] of layout) {
    found[name] = new Kind(bytes, at, length);
    at += Kind.BYTES_PER_ELEMENT * length;
  }
  return found;
}

// Colours of the page around, and whether they are dark: JupyterLab's theme, or the reader's own preference.
function themeOf(el) {
  const style = getComputedStyle(el), back = style.backgroundColor, text = style.color;
  const [red, green, blue] = back.match(/[\d.]+/g).map(Number);
  return { back, text, name: 0.3 * red + 0.59 * green + 0.11 * blue < 128 ? "dark" : "light" };
}

// Calls back when the theme of the page changes, until the signal.
function onTheme(fn, signal) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", fn, { signal });
  const watch = new MutationObserver(fn);
  watch.observe(document.body, { attributes: true }); // JupyterLab says its theme there
  signal.addEventListener("abort", () => watch.disconnect());
}

// A canvas of the element's size in the screen's own pixels, ready to be drawn on in CSS pixels.
function fitted(canvas, width, height) {
  const dpr = devicePixelRatio || 1, [across, down] = [Math.round(width * dpr), Math.round(height * dpr)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  canvas.style.height = `${height}px`;
  const g = canvas.getContext("2d", { alpha: false });
  g.setTransform(dpr, 0, 0, dpr, 0, 0);
  return g;
}
