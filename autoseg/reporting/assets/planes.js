// One plane of a viewer: a slice on a canvas with its crosshair, letters and slider, zoomed and moved.

const NARROWEST = 0.6, WIDEST = 2, MOST_ZOOM = 40;

function planeView(state, plane) {
  const { shape, spacing } = state.volume, cutting = cut(shape, plane.axis);
  const view = { plane, cutting, zoom: 1, x: 0.5, y: 0.5, grey: document.createElement("canvas"), label: document.createElement("canvas") };
  view.wide = cutting.columns * spacing[cutting.along];
  view.high = cutting.rows * spacing[cutting.down];
  const aspect = Math.min(WIDEST, Math.max(NARROWEST, view.wide / view.high));
  view.canvas = html("canvas", { tabindex: "0", role: "application", "aria-roledescription": "slice", style: { "aspect-ratio": aspect },
    "aria-label": `${state.volume.case}, ${plane.name}`, "aria-describedby": state.help });
  view.slider = html("input", { type: "range", min: 1, max: shape[plane.axis], "aria-label": `slice, ${plane.name}` });
  view.slider.addEventListener("input", () => moved(state, plane.axis, view.slider.value - 1));
  view.told = html("span", {});
  view.element = html("div", { class: "slice" }, html("p", {}, `${plane.name} `, view.told),
    html("div", { class: "canvas" }, view.canvas, ...letters(plane)), shape[plane.axis] > 1 ? view.slider : null);
  view.context = view.canvas.getContext("2d");
  return view;
}

function letters(plane) {
  const places = ["left", "right", "top", "bottom"];
  return (plane.letters || []).map((letter, place) => html("span", { class: `letter ${places[place]}`, "aria-hidden": "true" }, letter));
}

// Along one axis to a slice that there is.
function moved(state, axis, to) {
  state.at[axis] = Math.min(state.volume.shape[axis] - 1, Math.max(0, Math.round(to)));
  state.changed();
}

// Where the whole slice lies on the canvas, in its pixels.
function placed(view) {
  const { width, height } = view.canvas;
  const scale = view.zoom * Math.min(width / view.wide, height / view.high);
  const [wide, high] = [scale * view.wide, scale * view.high];
  return { left: width / 2 - view.x * wide, top: height / 2 - view.y * high, wide, high };
}

function fitCanvas(view) {
  const ratio = window.devicePixelRatio || 1;
  view.canvas.width = Math.max(1, Math.round(view.canvas.clientWidth * ratio));
  view.canvas.height = Math.max(1, Math.round(view.canvas.clientHeight * ratio));
}

function drawPlane(state, view) {
  const { context, canvas, cutting, plane } = view, index = state.at[plane.axis];
  const { left, top, wide, high } = placed(view);
  painted(view.grey, state.channel.codes, cutting, index, state.greys);
  context.globalAlpha = 1;
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.drawImage(view.grey, left, top, wide, high);
  if (state.opacity > 0) {
    painted(view.label, state.layer.numbers, cutting, index, state.paints);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = state.opacity;
    context.drawImage(view.label, left, top, wide, high);
  }
  if (state.crosshair) drawCrosshair(state, view);
  view.slider.value = index + 1;
  view.slider.setAttribute("aria-valuetext", `${index + 1} of ${state.volume.shape[plane.axis]}`);
  view.told.textContent = state.volume.shape[plane.axis] > 1 ? `slice ${index + 1} of ${state.volume.shape[plane.axis]}${FROM[plane.axis]}` : "";
}

const FROM = [", from the feet", ", from the front", ", from the right"];

// Lines along the slices that the other planes show, with a gap around the voxel where they cross.
function drawCrosshair(state, view) {
  const { context, canvas, cutting } = view, { left, top, wide, high } = placed(view);
  const row = cutting.reversed ? cutting.rows - 1 - state.at[cutting.down] : state.at[cutting.down];
  const x = left + ((state.at[cutting.along] + 0.5) / cutting.columns) * wide;
  const y = top + ((row + 0.5) / cutting.rows) * high;
  const ratio = window.devicePixelRatio || 1, gap = 7 * ratio;
  context.globalAlpha = 0.85;
  context.lineWidth = ratio;
  context.strokeStyle = "#6cf";
  context.beginPath();
  for (const [fromX, fromY, toX, toY] of [[0, y, x - gap, y], [x + gap, y, canvas.width, y], [x, 0, x, y - gap], [x, y + gap, x, canvas.height]]) {
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
  }
  context.stroke();
}

// The crosshair to a point of the canvas, in its pixels.
function pointed(state, view, x, y) {
  const { cutting } = view, { left, top, wide, high } = placed(view), { shape } = state.volume;
  const inside = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  const row = inside((y - top) / high, cutting.rows);
  state.at[cutting.along] = inside((x - left) / wide, cutting.columns);
  state.at[cutting.down] = cutting.reversed ? shape[cutting.down] - 1 - row : row;
  state.changed();
}

// Larger or smaller around a point of the canvas, which stays where it is.
function zoomed(state, view, factor, x = view.canvas.width / 2, y = view.canvas.height / 2) {
  const before = placed(view);
  view.zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
  const after = placed(view);
  shifted(state, view, x - ((x - before.left) / before.wide) * after.wide - after.left, y - ((y - before.top) / before.high) * after.high - after.top);
}

// By pixels of the canvas; some of the slice stays in sight, and all of one that is not enlarged.
function shifted(state, view, x, y) {
  const { wide, high } = placed(view);
  const within = (share) => (view.zoom === 1 ? 0.5 : Math.min(1, Math.max(0, share)));
  view.x = within(view.x - x / wide);
  view.y = within(view.y - y / high);
  state.changed();
}
