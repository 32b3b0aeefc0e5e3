// A view in a saved page: `view` is its module, its data stand in the page, and nobody answers its questions.
// A page that stands for itself keeps its state in its address, so that the address can be passed on.

const picture = document.getElementById("picture"), el = document.getElementById("view");
try {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = await new Response(stream).arrayBuffer();
  const at = 4 + new DataView(whole).getUint32(0, true);
  const meta = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, at - 4)));
  const host = { first: { meta, data: new DataView(whole, at) }, alone: true, state: meta.state ?? {} };
  const own = window.top === window;
  try { if (own && location.hash) Object.assign(host.state, JSON.parse(decodeURIComponent(location.hash.slice(1)))); } catch { /* somebody else's */ }
  host.keep = (changes) => {
    Object.assign(host.state, changes);
    if (own) history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(host.state))}`);
  };
  host.ask = () => Promise.reject(new Error("this needs the notebook's kernel"));
  host.on = () => () => {};
  if (picture) picture.hidden = true;
  await view.render({ host, el, signal: new AbortController().signal });
  picture?.remove();
} catch (error) {
  if (picture) picture.hidden = false;
  document.body.append(element("p", { textContent: `This is only a picture, its interactive form failed: ${error}` }));
}
