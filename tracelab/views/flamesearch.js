// Searching a flame graph: what matches, how much of the whole that is, and stepping through it.

const { SMALL } = flametree;

function match(flame, text) {
  flame.matched.textContent = "";
  let matches = null;
  try { matches = text ? flametree.matcher(text) : null; } catch (error) { flame.matched.textContent = error.message; }
  for (const pane of flame.panes) {
    const known = matches && pane.meta.names.map(matches);
    pane.match = known ? Uint8Array.from(pane.t.frame, (f) => (f >= 0 && known[f] ? 1 : 0)) : null;
    pane.draw();
  }
  for (const b of [flame.before, flame.after]) b.hidden = !matches;
  if (!flame.table.hidden) flametable.tabulate(flame, true);
  return matches ? count(flame) : null;
}

// Share of what is zoomed in on whose stack has a match: a match inside a match counts once.
function count(flame) {
  const { t, match, root } = flame.panes.at(-1);
  let weight = 0, unknown = 0, found = 0, caller = root; // a match among the callers of what is zoomed in on is in every stack
  while (caller > 0 && !match[caller]) caller = t.parent[caller];
  if (caller > 0) weight = t.total[root];
  for (let i = root; caller === 0 && i < t.end[root];) {
    if (match[i]) weight += t.total[i];
    else if (t.frame[i] === SMALL) unknown += t.total[i];
    i = match[i] ? t.end[i] : i + 1;
  }
  for (const m of match) found += m;
  const whole = t.total[root] || 1;
  const more = unknown > 0 ? `, up to ${percent(unknown / whole)} more in merged frames` : "";
  flame.matched.textContent = `matched ${percent(weight / whole)}${root ? " of zoom" : ""} in ${digits(found)} frames${more}`;
  return weight / whole;
}

function step(flame, way) {
  const pane = flame.panes.at(-1), { t, match } = pane;
  if (!match) return;
  let i = (pane.focus + way + t.n) % t.n;
  for (let k = 1; k < t.n && !match[i]; k++) i = (i + way + t.n) % t.n;
  if (!match[i]) return;
  if (i < pane.root || i >= t.end[pane.root]) pane.zoom(0);
  let near = i; // zoom just enough to see it
  while (near > 0 && t.total[near] < 20 * t.total[i]) near = t.parent[near];
  if (pane.rect(i).w < 8) pane.zoom(near);
  pane.walk(i);
}

export default { match, step };
