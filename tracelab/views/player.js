// Plays a recording against the clock: the window that is selected slides along, and every view follows.
//
// `player.build(el, { from, until, show, signal })` gives { at(time), stop() }; `show([from, until])` is called with what is
// to be seen, and waited for, so that a slow page shows fewer moments, and not later ones.

const SPEEDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];

function build(el, { window: [from, until], show, signal, now = () => performance.now() }) {
  const whole = until - from || 1, state = { time: from, width: Math.min(whole, Math.max(whole / 20, 0.1)), speed: 1, playing: false };
  const button = (textContent, about, act) => {
    const b = element("button", { type: "button", textContent, title: about });
    b.setAttribute("aria-label", about);
    b.addEventListener("click", act, { signal });
    return b;
  };
  const play = button("play", "play", () => (state.playing ? stop() : start()));
  const back = button("◀", "one window back", () => step(-1)), on = button("▶", "one window on", () => step(1));
  const slider = element("input", { type: "range", min: 0, max: 1000, value: 0 });
  slider.setAttribute("aria-label", "time");
  const speed = element("select", {}, ...SPEEDS.map((v) => element("option", { value: v, textContent: `${v}×` })));
  speed.value = "1";
  speed.setAttribute("aria-label", "speed");
  const width = element("select", {}, ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60].filter((w) => w < whole).map((w) => element("option", { value: w, textContent: `${w} s` })), element("option", { value: whole, textContent: "all" }));
  width.setAttribute("aria-label", "length of the window");
  width.value = [...width.options].map((o) => Number(o.value)).reduce((best, w) => (Math.abs(w - state.width) < Math.abs(best - state.width) ? w : best));
  state.width = Number(width.value);
  const said = element("span", { className: "tl-time" });
  said.setAttribute("role", "status");
  el.append(back, play, on, slider, speed, element("label", { textContent: "window " }, width), said);

  let busy = false, again = false, last = 0;
  async function present() {
    const seen = [state.time, Math.min(state.time + state.width, until)];
    slider.value = String((1000 * (state.time - from)) / Math.max(whole - state.width, 1e-9));
    slider.setAttribute("aria-valuetext", `${seen[0].toFixed(3)} s`);
    said.textContent = `${seen[0].toFixed(2)} s to ${seen[1].toFixed(2)} s`;
    again = busy; // what came meanwhile is shown next, so that the last moment always is
    if (busy) return;
    busy = true;
    try { await show(seen); } finally { busy = false; }
    if (again) present();
  }
  function go(time) {
    state.time = Math.min(Math.max(time, from), Math.max(until - state.width, from));
    present();
  }
  function step(way) { stop(); go(state.time + way * state.width); }
  function frame() {
    if (!state.playing || signal.aborted) return;
    const passed = (now() - last) / 1000;
    last = now();
    go(state.time + passed * state.speed);
    if (state.time >= until - state.width) stop();
    else requestAnimationFrame(frame);
  }
  function start() {
    if (state.time >= until - state.width) state.time = from;
    state.playing = true;
    play.textContent = play.ariaLabel = play.title = "pause";
    last = now();
    requestAnimationFrame(frame);
  }
  function stop() {
    state.playing = false;
    play.textContent = play.ariaLabel = play.title = "play";
  }
  const listen = (target, type, fn) => target.addEventListener(type, fn, { signal });
  listen(slider, "input", () => { stop(); go(from + (slider.value / 1000) * Math.max(whole - state.width, 0)); });
  listen(speed, "change", () => { state.speed = Number(speed.value); });
  listen(width, "change", () => { state.width = Number(width.value); go(state.time); });
  return { state, go, start, stop };
}

export default { build };
