// What stands beside a flame graph: its legend, the table of its functions, and what has changed in a differential one.

const LEGEND = "share by innermost frame; bpf with all that eBPF programs called";
const ROWS = 200, MODULES = 7;

function swatch(flame, text, about, paint) {
  const mark = element("span", { className: "tl-swatch" });
  mark.paint = () => paint(mark);
  flame.legend.append(element("span", { className: "tl-legend", title: about }, mark, text));
  return mark;
}

// Colours and what they stand for. The shares by domain are of everything, not of what steps have left.
function legends(flame) {
  const { meta } = flame.base, { colours } = flame.view;
  flame.coloured = colours;
  flame.legend.replaceChildren();
  flame.theming();
  if (colours === "change") {
    const of = (value) => (mark) => { mark.style.background = shadeOf(meta, value, 1, flame.theme); };
    flame.swatches = [swatch(flame, "less", "", of(-1)), swatch(flame, "same, or not certain", "", of(0)), swatch(flame, "more", "", of(1))];
  } else if (colours === "module") flame.swatches = moduleSwatches(flame);
  else {
    const whole = meta.whole || 1;
    flame.swatches = Object.entries(meta.domains).map(([domain, weight]) => {
      const mark = swatch(flame, weight > 0 ? `${domain} ${percent(weight / whole)}` : domain, LEGEND, (m) => { m.style.background = flame.colour(domain, 2); });
      mark.dataset.domain = domain;
      return mark;
    });
  }
  for (const mark of flame.swatches) mark.paint();
}

// Modules, as numbers, and their own weight, heaviest first.
function modules(meta, t) {
  const own = new Map();
  for (let i = 0; i < t.n; i++) if (t.frame[i] >= 0) own.set(meta.module[t.frame[i]], (own.get(meta.module[t.frame[i]]) ?? 0) + t.self[i]);
  return [...own].sort((a, b) => b[1] - a[1]);
}

function moduleSwatches(flame) {
  const { meta, t } = flame.panes.at(-1), colours = flame.base.meta.moduleColours;
  return modules(meta, t).slice(0, MODULES).map(([module, weight]) => {
    const name = meta.modules[module] ?? "", said = name.split("/").at(-1) || "(no module)";
    return swatch(flame, `${said} ${percent(weight / (t.total[0] || 1))}`, name, (m) => { m.style.background = colours[flame.theme][flame.tint(name)]; });
  });
}

// Functions by self weight; those that match when something is searched for. A row opens its callers and callees.
function tabulate(flame, shown) {
  flame.table.hidden = !shown;
  flame.list.setAttribute("aria-pressed", String(shown));
  if (!shown) return;
  const pane = flame.panes.at(-1), { meta, t } = pane, whole = t.total[0] || 1;
  let rows = flametree.functions(meta, t);
  try { if (flame.view.search) { const matches = flametree.matcher(flame.view.search); rows = rows.filter((row) => matches(meta.names[row.f])); } } catch { /* said beside the box */ }
  const head = element("tr", {}, ...["self", "share", "total", "share", "function", "module"].map((textContent) => element("th", { textContent, scope: "col" })));
  const body = rows.slice(0, ROWS).map(({ f, self, total }) => {
    const name = element("button", { type: "button", textContent: meta.names[f], title: "callers and callees" });
    name.addEventListener("click", () => flame.set({ layout: "sandwich", of: meta.names[f], selection: [] }));
    if (t.inTime) name.disabled = true;
    const cells = [amount(self, meta.unit), percent(self / whole), amount(total, meta.unit), percent(total / whole)].map((textContent) => element("td", { textContent, className: "tl-num" }));
    return element("tr", {}, ...cells, element("td", {}, name), element("td", { textContent: meta.modules[meta.module[f]] || meta.domain[f] }));
  });
  const more = rows.length > ROWS ? [element("p", { textContent: `and ${digits(rows.length - ROWS)} more` })] : [];
  flame.table.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)), ...more);
}

// ---- change: before and after are in the unit that the two sides are compared in

function shadeOf(meta, value, certain, theme) {
  const scale = meta.changeColours[theme], middle = (scale.length - 1) / 2;
  return scale[Math.round(middle + (certain ? Math.max(-1, Math.min(1, value)) : 0) * middle)];
}

function changeColour(meta, t, i, theme) {
  return shadeOf(meta, (t.after[i] - t.before[i]) / (meta.changeFull || 1), t.certain ? t.certain[i] : 1, theme);
}

function changeWords(meta, t, i) {
  const show = (v) => amount(v, meta.changeUnit), by = t.after[i] - t.before[i];
  const sign = by > 0 ? "+" : by < 0 ? "−" : "±";
  const sure = t.certain && !t.certain[i] ? "; may be chance" : "";
  return [`before ${show(t.before[i])}, after ${show(t.after[i])}: ${sign}${show(Math.abs(by))}${sure}`];
}

export default { legends, modules, tabulate, changeColour, changeWords };
