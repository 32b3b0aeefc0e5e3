// Tells when a page has painted on a canvas, whatever library paints there; runs before the page's own scripts.
//
// A paint counts when the frame that shows it is done: a draw inside of an animation frame belongs to that frame,
// any other one to the next. Both drawing interfaces are watched, and every canvas.
(() => {
  const request = requestAnimationFrame.bind(window), channel = new MessageChannel();
  const paints = [], heard = [];
  let inFrame = false, waiting = false;
  channel.port1.onmessage = () => { waiting = false; paints.push(performance.now()); };
  const drawn = () => {
    if (waiting) return;
    waiting = true;
    if (inFrame) channel.port2.postMessage(0);
    else request(() => channel.port2.postMessage(0));
  };
  window.requestAnimationFrame = (fn) => request((now) => {
    inFrame = true;
    try { fn(now); } finally { inFrame = false; }
  });
  const watch = (kind, ...names) => {
    for (const name of names) {
      const own = kind.prototype[name];
      kind.prototype[name] = function (...args) { drawn(); return own.apply(this, args); };
    }
  };
  watch(CanvasRenderingContext2D, "fillRect", "fill", "stroke", "strokeRect", "drawImage", "putImageData");
  watch(WebGLRenderingContext, "drawArrays", "drawElements");
  watch(WebGL2RenderingContext, "drawArrays", "drawElements");
  for (const type of ["click", "dblclick"]) window.addEventListener(type, (e) => heard.push([type, e.timeStamp]), true);

  const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  window.watched = {
    paints,
    // Resolves when nothing was painted for a while, however often it was looked: a busy page looks late.
    async quiet(ms) {
      for (let calm = 0, seen = paints.length; calm < 4; calm++) {
        await later(ms / 4);
        if (waiting || paints.length > seen) [calm, seen] = [-1, paints.length];
      }
    },
    // From the last event of a type to the ends of the first and of the last paint after it, in ms; none when there are none.
    async answer(type, ms) {
      await this.quiet(ms);
      const begun = heard.findLast(([name]) => name === type)?.[1], after = paints.filter((at) => at > begun);
      return after.length ? [after[0] - begun, after.at(-1) - begun] : [];
    },
    // The wheel, as a hand turns it, once a frame: a quarter of the steps to zoom in, to the right, back, and out.
    // Gives the time from each frame to the next, and how many of them were painted.
    wheel(target, steps) {
      const box = target.getBoundingClientRect(), times = [], before = paints.length;
      const at = { clientX: box.left + box.width / 3, clientY: box.top + 100, bubbles: true, cancelable: true };
      const turns = [{ deltaY: -40, ctrlKey: true }, { deltaX: 40 }, { deltaX: -40 }, { deltaY: 40, ctrlKey: true }];
      const turn = (i) => target.dispatchEvent(new WheelEvent("wheel", { ...at, ...turns[Math.floor(4 * i / steps)] }));
      return new Promise((resolve) => {
        let last = 0;
        const step = () => {
          const now = performance.now();
          if (last) times.push(now - last);
          last = now;
          if (times.length >= steps) { setTimeout(() => resolve({ times, painted: paints.length - before }), 50); return; }
          turn(times.length);
          request(step);
        };
        request(step);
      });
    },
  };
})();
