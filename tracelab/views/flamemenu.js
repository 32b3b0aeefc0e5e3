// What can be done with one frame of a flame graph: a menu, what it leaves behind as chips, and copying.

const SAID = { hide: "without", "hide module": "without module", keep: "only stacks with", focus: "from", "collapse recursion": "recursion as one frame", "collapse module": "as one frame: module", "collapse prefix": "as one frame:" };
const plain = (text) => `/^${text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$/`; // exactly this name

function items(flame, pane, i) {
  const { t, meta } = pane, f = t.frame[i], add = (...step) => () => flame.set({ steps: [...flame.view.steps, step], selection: [] });
  const always = [["recursion as one frame", add("collapse recursion")], ["copy as collapsed stacks", () => copy(flame, pane, i, "collapsed")]];
  if (f < 0) return always;
  const name = meta.names[f], module = meta.modules[meta.module[f]], prefix = /^[\w.]+?(::|\.|_)/.exec(name)?.[0];
  const steps = t.inTime ? [] : [
    ["callers and callees", () => flame.set({ layout: "sandwich", of: name, selection: [] })],
    ["focus on this function", add("focus", name)],
    ["only stacks with it", add("keep", plain(name))],
    ["hide this function", add("hide", plain(name))],
    ...(module ? [["hide its module", add("hide module", module)], ["its module as one frame", add("collapse module", module)]] : []),
    ...(prefix ? [[`${prefix}… as one frame`, add("collapse prefix", prefix)]] : []),
  ];
  return [
    ["zoom in", () => flame.chosen(pane, i)], ["search for it", () => flame.search(plain(name))], ...steps,
    ["copy name", () => copy(flame, pane, i, "name")], ["copy stack", () => copy(flame, pane, i, "stack")], ...(t.inTime ? always.slice(1) : always),
  ];
}

function open(flame, pane, i, e) {
  if (!pane.t) return;
  i = Math.max(i, 0);
  const { pop } = flame, rows = items(flame, pane, i);
  pop.replaceChildren(element("div", { className: "tl-menu-title", textContent: flame.name(pane, i) }), ...rows.map(([text, act]) => {
    const row = element("button", { type: "button", textContent: text, tabIndex: -1 });
    row.setAttribute("role", "menuitem");
    row.addEventListener("click", () => { close(flame, pane); act(); });
    return row;
  }));
  pop.firstChild.setAttribute("role", "presentation");
  pop.setAttribute("aria-label", flame.name(pane, i));
  pop.hidden = flame.tip.hidden = true;
  pop.hidden = false;
  flame.opened = pane;
  const box = pane.rect(i), at = pane.canvas.getBoundingClientRect();
  flame.put(pop, e?.clientX ? e : { clientX: at.left + Math.max(box.x, 0) + 10, clientY: at.top + box.y + 10 });
  pop.querySelector("button").focus();
}

function close(flame, pane = flame.opened) {
  flame.pop.hidden = true;
  pane.canvas.focus();
}

function key(flame, e) {
  const rows = [...flame.pop.querySelectorAll("button")], at = rows.indexOf(document.activeElement);
  const to = { ArrowDown: (at + 1) % rows.length, ArrowUp: (at - 1 + rows.length) % rows.length, Home: 0, End: rows.length - 1 }[e.key];
  e.stopPropagation();
  if (to !== undefined) { e.preventDefault(); rows[to].focus(); }
  if (e.key === "Escape" || e.key === "Tab") { e.preventDefault(); close(flame); }
}

// The steps that were taken, each with a button that takes it back.
function chips(flame) {
  const { steps, layout, of } = flame.view;
  const chip = (text, act) => {
    const off = element("button", { type: "button", textContent: "×" });
    off.setAttribute("aria-label", `take back: ${text}`);
    off.addEventListener("click", act);
    return element("span", { className: "tl-chip" }, text, off);
  };
  const shown = steps.map(([verb, about], k) => {
    const exact = /^\/\^(.*)\$\/$/s.exec(about ?? "");
    const what = exact ? exact[1].replace(/\\(.)/g, "$1") : about ?? "";
    return chip(`${SAID[verb] ?? verb} ${what}`.trim(), () => flame.set({ steps: steps.filter((_, j) => j !== k), selection: [] }));
  });
  if (layout === "sandwich" && of) shown.unshift(chip(`callers and callees of ${of}`, () => flame.set({ layout: flame.base.meta.layout, of: "", selection: [] })));
  flame.chips.replaceChildren(...shown);
}

function text(flame, pane, i, what) {
  const path = flame.path(pane, i), { t, meta } = pane;
  if (what === "name") return path.at(-1) ?? "";
  if (what === "stack") return path.join("\n");
  const lines = [], clean = (name) => name.replaceAll(";", ":");
  for (let j = i; j < t.end[i]; j++) {
    if (!(t.self[j] > 0) || t.frame[j] === flametree.GAP) continue;
    const names = flame.path(pane, j).map(clean);
    lines.push(`${names.join(";")} ${Math.round(t.self[j])}`);
  }
  return `${lines.join("\n")}\n`;
}

async function copy(flame, pane, i, what) {
  const copied = text(flame, pane, Math.max(i, 0), what), said = what === "collapsed" ? "collapsed stacks" : what;
  try {
    await navigator.clipboard.writeText(copied);
  } catch { // a sandboxed frame may not: the old way still works there
    const area = element("textarea", { value: copied });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    pane.canvas.focus();
    if (!done) { flame.live.textContent = "this page may not copy"; return; }
  }
  flame.copied = copied;
  flame.live.textContent = `copied: ${said}`;
}

export default { open, key, chips, copy };
