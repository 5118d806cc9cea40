// Looks through a volume: three planes that show the same point, with window and level, labels, zoom.

const BROWSERS = "This browser cannot unpack the case: DecompressionStream is missing, which Chrome and Edge have since version 80, Firefox since 113 and Safari since 16.4.";
let viewers = 0;

// A button that opens the volume, and closes it again, which frees its memory.
function lookThrough(volume, block) {
  const place = html("div", {}), button = html("button", { type: "button" });
  let close = null;
  const named = (open) => {
    button.textContent = open ? "close the viewer" : "look through";
    button.setAttribute("aria-label", `${button.textContent}: ${volume.case}`);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", async () => {
    if (close) { close(); close = null; place.replaceChildren(); return named(false); }
    close = () => {};
    named(true);
    place.replaceChildren(html("p", { class: "note", role: "status" }, "The case is being unpacked."));
    const opened = await openedViewer(volume, block);
    if (!close) return; // closed again before it was unpacked
    place.replaceChildren(opened.element);
    close = opened.start();
  });
  named(false);
  return html("div", { class: "look" }, button, place);
}

async function openedViewer(volume, block) {
  const failed = (text) => ({ element: html("p", { class: "notice", role: "alert" }, text), start: () => () => {} });
  if (!CAN_UNPACK) return failed(BROWSERS);
  try {
    const state = viewerState(await unpacked(volume), block);
    return { element: viewerElement(state), start: () => started(state) };
  } catch (error) {
    return failed(`The volume of this case cannot be unpacked: ${error.message || error}`);
  }
}

function viewerState(volume, block) {
  viewers += 1;
  const state = { volume, block, help: `viewer-help-${viewers}`, at: [...volume.at], opacity: 0.5, crosshair: true, tool: "crosshair" };
  state.views = volume.planes.map((plane) => planeView(state, plane));
  state.changed = oncePerFrame(() => redrawn(state));
  state.setWindow = (width, level) => {
    Object.assign(state, { width, level, greys: greys(state.channel.values, width, level) });
    state.changed();
  };
  state.reset = (view) => { Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 }); state.changed(); };
  state.setLayer = (place) => {
    state.layer = volume.layers[place];
    state.paints = paints(state.layer.marked ? block.errors : block.legend);
    state.changed();
  };
  state.setChannel = (place) => {
    state.channel = volume.channels[place];
    state.setWindow(state.channel.windows[0][1], state.channel.windows[0][2]);
  };
  state.setChannel(0);
  state.setLayer(Math.max(0, volume.layers.findIndex((layer) => layer.name === "prediction")));
  return state;
}

function oncePerFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; work(); });
  };
}

function redrawn(state) {
  for (const view of state.views) {
    view.canvas.style.touchAction = state.tool === "crosshair" && view.zoom === 1 ? "pan-y" : "none"; // a page can still be scrolled by touch
    drawPlane(state, view);
  }
  state.shown?.();
  const text = pointText(state);
  if (state.live && state.live.textContent !== text) state.live.textContent = text;
}

// What is under the crosshair, in words.
function pointText(state) {
  const { shape, planes, layers } = state.volume, [z, y, x] = state.at, voxel = (z * shape[1] + y) * shape[2] + x;
  const places = planes.filter(({ axis }) => shape[axis] > 1).map(({ axis, name }) => `${name} ${state.at[axis] + 1} of ${shape[axis]}`);
  if (planes.length === 1) places.push(`row ${y + 1}, column ${x + 1}`);
  const named = layers.map((layer) => {
    const number = layer.numbers[voxel], entries = layer.marked ? state.block.errors : state.block.legend;
    return `${layer.name}: ${number ? entries[number - 1][0] : layer.nothing}`;
  });
  const code = state.channel.codes[voxel], value = shown(Number(state.channel.values[code].toPrecision(4)));
  const [below, above] = state.channel.beyond, beyond = code === 0 && below ? "at most " : code === 255 && above ? "at least " : "";
  return `${places.join(", ")}; ${state.channel.name}: ${beyond}${value}; ${named.join(", ")}`;
}

function viewerElement(state) {
  state.live = html("output", { "aria-live": "polite" });
  const quantised = html("p", { class: "note" });
  const tools = viewerTools(state);
  state.shown = () => { quantised.textContent = `${state.volume.shown} Values are quantised: ${state.channel.told}.`; tools.shown(); };
  const slices = html("div", { class: "slices", style: { "--planes": state.views.length } }, ...state.views.map((view) => view.element));
  const help = html("p", { class: "note", id: state.help },
    "In a slice: the wheel or the arrow keys scroll (page keys by ten), a click or shift and arrows move the crosshair, + and − or two fingers zoom, 0 shows all again; dragging with shift moves the picture, with the right button changes window and level.");
  for (const view of state.views) listen(state, view);
  return html("div", { class: "viewer-open", role: "group", "aria-label": `viewer: ${state.volume.case}` }, tools.element, slices, state.live, quantised, help);
}

// Draws as soon as it lies in the page and whenever its size changes; returns what ends that.
function started(state) {
  const observer = new ResizeObserver(() => { state.views.forEach(fitCanvas); redrawn(state); });
  for (const view of state.views) observer.observe(view.canvas);
  return () => observer.disconnect();
}

function viewerTools(state) {
  const { channels, layers } = state.volume;
  const layer = chooser("Show", layers.map((each) => each.name), state.setLayer);
  if (layer) layer.querySelector("select").value = String(layers.indexOf(state.layer));
  const opacity = html("input", { type: "range", min: 0, max: 100, value: 50 });
  opacity.addEventListener("input", () => { state.opacity = opacity.value / 100; state.changed(); });
  const crosshair = html("input", { type: "checkbox", checked: true });
  crosshair.addEventListener("change", () => { state.crosshair = crosshair.checked; state.changed(); });
  const dragging = ["crosshair", "window", "pan"];
  const drag = chooser("Dragging", ["sets the crosshair", "changes window and level", "moves the picture"], (place) => { state.tool = dragging[place]; state.changed(); });
  const windowing = windowTools(state);
  const channel = chooser("Channel", channels.map((each) => each.name), (place) => { state.setChannel(place); windowing.offered(); });
  const element = html("div", { class: "tools" }, channel, layer, html("label", {}, "Opacity of labels", opacity), ...windowing.elements,
    drag, ...zoomTools(state), html("label", {}, crosshair, "crosshair"));
  return { element, shown: windowing.shown };
}

function zoomTools(state) {
  const button = (text, named, work) => html("button", { type: "button", "aria-label": named, title: named, onclick: () => state.views.forEach(work) }, text);
  return [html("span", { class: "zoom" }, button("−", "zoom out", (view) => zoomed(state, view, 0.8)), button("+", "zoom in", (view) => zoomed(state, view, 1.25)),
    button("whole", "show the whole slices", state.reset))];
}

// Two numbers, and windows with a name.
function windowTools(state) {
  const field = () => html("input", { type: "number", step: "any", class: "amount" });
  const width = field(), level = field(), presets = html("select", {});
  for (const each of [width, level]) each.addEventListener("input", () => {
    if (Number(width.value) > 0 && level.value !== "") state.setWindow(Number(width.value), Number(level.value));
  });
  presets.addEventListener("change", () => {
    const chosen = state.channel.windows[Number(presets.value)];
    if (chosen) state.setWindow(chosen[1], chosen[2]);
  });
  const offered = () => presets.replaceChildren(...state.channel.windows.map(([name], place) => html("option", { value: place }, name)),
    html("option", { value: -1 }, "as set"));
  const shown = () => {
    for (const [each, value] of [[width, state.width], [level, state.level]])
      if (document.activeElement !== each) each.value = String(Number(value.toPrecision(4)));
    presets.value = String(state.channel.windows.findIndex(([, wide, middle]) => wide === state.width && middle === state.level));
  };
  offered();
  return { elements: [html("label", {}, "Window", width), html("label", {}, "Level", level), html("label", {}, "Preset", presets)], offered, shown };
}
