// The tree of a flame graph: read from what Python sent, and rewritten here where no kernel is needed for that.
//
// A tree is a struct of arrays over n nodes in preorder. frame -1 is the root of everything, -2 frames too light to be
// kept, -3 nothing: time of a flame chart in which the frame above called nobody. The verbs of steps are those of
// analysis/transform.py.

const ROOT = -1, SMALL = -2, GAP = -3;

// What can be told from frames, depths and own weights alone. In a tree that is not in the order of time, siblings stand
// by descending weight and a strip of small frames is the last of them.
function finished(t) {
  const { n, own, depth, frame } = t;
  const parent = new Int32Array(n), end = new Int32Array(n).fill(n), strip = new Int32Array(n);
  const total = Float64Array.from(own), left = new Float64Array(n);
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
  const sums = {}; // of a difference: what each side weighs
  for (const [name, from] of [["before", t.beforeSelf], ["after", t.afterSelf]]) {
    if (!from) continue;
    const sum = sums[name] = Float64Array.from(from);
    for (let i = n - 1; i > 0; i--) sum[parent[i]] += sum[i];
  }
  const self = t.inTime ? new Float64Array(n) : own;
  if (t.inTime) for (let i = 1; i < n; i++) if (frame[i] === GAP) self[parent[i]] += own[i];
  return { ...t, ...sums, parent, end, strip, total, left, self };
}

function read(meta, data) {
  const kinds = { f8: Float64Array, i4: Int32Array, u1: Uint8Array };
  const layout = meta.columns.map(([name, kind]) => [name, kinds[kind], meta.nodes]);
  return finished({ n: meta.nodes, inTime: meta.layout === "time", ...columns(data, layout) });
}

// A plain text is found anywhere and in any case; /text/ is a regular expression.
function matcher(text) {
  const given = /^\/(.*)\/(i?)$/s.exec(text);
  if (given) { const re = new RegExp(given[1], given[2]); return (name) => re.test(name); }
  const low = text.toLowerCase();
  return (name) => name.toLowerCase().includes(low);
}

// Each verb makes, for the frames that there are, what turns a path of frames into another one, or null for no stack.
function collapsed(meta, wanted, name, module) {
  const made = named(meta, name, module, wanted);
  const one = Int32Array.from(meta.names, (_, f) => (wanted(f) ? made : -1));
  return (path) => {
    const out = [];
    for (const f of path) {
      const to = f >= 0 && one[f] >= 0 ? one[f] : f;
      if (to !== made || out.at(-1) !== made) out.push(to);
    }
    return out;
  };
}

function named(meta, name, module, wanted) {
  const first = meta.names.findIndex((_, f) => wanted(f)), at = meta.modules.indexOf(module);
  meta.names.push(name);
  for (const [key, value] of [["domain", meta.domain[first] ?? "user"], ["module", at], ["file", meta.files.indexOf("")], ["line", 0], ["lastLine", 0]]) meta[key].push(value);
  return meta.names.length - 1;
}

const STEPS = {
  hide(meta, pattern) {
    const gone = meta.names.map(matcher(pattern));
    return (path) => path.filter((f) => !(f >= 0 && gone[f]));
  },
  "hide module"(meta, module) {
    const at = meta.modules.indexOf(module);
    return (path) => path.filter((f) => !(f >= 0 && meta.module[f] === at));
  },
  keep(meta, pattern) {
    const found = meta.names.map(matcher(pattern));
    return (path) => (path.some((f) => f >= 0 && found[f]) ? path : null);
  },
  focus: (meta, symbol) => (path) => {
    const at = path.findIndex((f) => f >= 0 && meta.names[f] === symbol);
    return at < 0 ? null : path.slice(at);
  },
  callers: (meta, symbol) => (path) => {
    const at = path.findIndex((f) => f >= 0 && meta.names[f] === symbol);
    return at < 0 ? null : path.slice(0, at + 1).reverse();
  },
  invert: () => (path) => path.slice().reverse(),
  "collapse recursion": () => (path) => path.filter((f, i) => i === 0 || f < 0 || f !== path[i - 1]),
  "collapse module": (meta, module) => collapsed(meta, (f) => meta.modules[meta.module[f]] === module, module, module),
  "collapse prefix"(meta, prefix) {
    const begins = (f) => meta.names[f].startsWith(prefix), first = meta.names.findIndex((_, f) => begins(f));
    return first < 0 ? (path) => path : collapsed(meta, begins, `${prefix}…`, meta.modules[meta.module[first]]);
  },
};

// The tree after some steps, and its meta, which may have new names. Own weights of nodes are what moves.
function rewritten(meta, t, steps) {
  meta = { ...meta };
  for (const key of ["names", "domain", "module", "file", "line", "lastLine"]) meta[key] = meta[key].slice();
  const verbs = steps.map(([verb, about]) => STEPS[verb](meta, about));
  const frame = [ROOT], parent = [0], children = [new Map()], path = [];
  const sums = Object.fromEntries(["own", "pruned", "beforeSelf", "afterSelf"].filter((name) => t[name]).map((name) => [name, [0]]));
  for (let i = 0; i < t.n; i++) {
    path.length = Math.max(t.depth[i] - 1, 0);
    if (i) path.push(t.frame[i]);
    if (!t.own[i]) continue;
    let changed = path;
    for (const verb of verbs) if (changed) changed = verb(changed);
    if (!changed) continue;
    let at = 0;
    for (const f of changed) {
      let to = children[at].get(f);
      if (to === undefined) {
        to = frame.length;
        children[at].set(f, to);
        frame.push(f);
        parent.push(at);
        for (const sum of Object.values(sums)) sum.push(0);
        children.push(new Map());
      }
      at = to;
    }
    for (const [name, sum] of Object.entries(sums)) sum[at] += t[name][i];
  }
  return { meta, t: heavyFirst({ frame, parent, sums, children }) };
}

function heavyFirst({ frame, parent, sums, children }) {
  const n = frame.length, total = sums.own.slice();
  for (let i = n - 1; i > 0; i--) total[parent[i]] += total[i];
  const out = { n, inTime: false, frame: new Int32Array(n), depth: new Int32Array(n) };
  for (const name of Object.keys(sums)) out[name] = new Float64Array(n);
  const weigh = (i) => (frame[i] === SMALL ? -1 : total[i]);
  const open = [[0, 0]];
  for (let j = 0; open.length; j++) {
    const [i, depth] = open.pop();
    for (const [name, sum] of Object.entries(sums)) out[name][j] = sum[i];
    out.frame[j] = frame[i];
    out.depth[j] = depth;
    for (const child of [...children[i].values()].sort((a, b) => weigh(a) - weigh(b))) open.push([child, depth + 1]);
  }
  return finished(out);
}

// Self and total by function, heaviest self first; a function that calls itself counts once per stack.
function functions(meta, t) {
  const self = new Float64Array(meta.names.length), total = new Float64Array(meta.names.length), until = new Int32Array(meta.names.length);
  for (let i = 0; i < t.n; i++) {
    const f = t.frame[i];
    if (f < 0) continue;
    self[f] += t.self[i];
    if (i >= until[f]) { total[f] += t.total[i]; until[f] = t.end[i]; }
  }
  const rows = meta.names.map((_, f) => ({ f, self: self[f], total: total[f] })).filter((row) => row.total > 0);
  return rows.sort((a, b) => b.self - a.self || b.total - a.total);
}

export default { ROOT, SMALL, GAP, read, matcher, rewritten, functions };
