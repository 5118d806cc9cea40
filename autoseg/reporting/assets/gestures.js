// What mouse, fingers and keys do in a slice.

const PER_SLICE = 60; // pixels of turning the wheel
const TAP = 10; // pixels that a finger may move

function listen(state, view) {
  const { canvas } = view;
  listenToWheel(state, view);
  listenToPointers(state, view);
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !pressed(state, view, event)) return;
    event.preventDefault();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button changes the window
}

function onCanvas(view, event) {
  const box = view.canvas.getBoundingClientRect(), ratio = view.canvas.width / box.width;
  return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
}

function listenToWheel(state, view) {
  let turned = 0;
  view.canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && state.volume.shape[view.plane.axis] === 1) return; // the page scrolls
    event.preventDefault();
    const by = event.deltaY * (event.deltaMode ? 40 : 1);
    if (event.ctrlKey) { // as two fingers on a touchpad are told, too
      const { x, y } = onCanvas(view, event);
      return zoomed(state, view, Math.exp(-by / 300), x, y);
    }
    turned += by;
    if (Math.abs(turned) < PER_SLICE) return;
    moved(state, view.plane.axis, state.at[view.plane.axis] - Math.sign(turned));
    turned = 0;
  }, { passive: false });
}

function listenToPointers(state, view) {
  const { canvas } = view, down = new Map();
  let gesture = null, start = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const at = onCanvas(view, event);
    down.set(event.pointerId, at);
    gesture = down.size > 1 ? "pinch" : event.button === 2 ? "window" : event.shiftKey || event.button === 1 ? "pan" : state.tool;
    start = { ...at, width: state.width, level: state.level, touched: event.pointerType === "touch" };
    if (gesture === "crosshair" && !start.touched) pointed(state, view, at.x, at.y);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const at = onCanvas(view, event);
    if (gesture === "pinch") pinched(state, view, down, event.pointerId, at);
    else if (gesture === "pan") shifted(state, view, at.x - before.x, at.y - before.y);
    else if (gesture === "window") windowed(state, view, start, at);
    else if (!start.touched || Math.hypot(at.x - start.x, at.y - start.y) > TAP) pointed(state, view, at.x, at.y);
    down.set(event.pointerId, at);
  });
  const up = (event) => {
    const at = down.get(event.pointerId);
    down.delete(event.pointerId);
    if (at && gesture === "crosshair" && event.type === "pointerup") pointed(state, view, at.x, at.y);
    if (!down.size) gesture = null;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
}

function pinched(state, view, down, moving, at) {
  const other = [...down].find(([pointer]) => pointer !== moving)?.[1], before = down.get(moving);
  if (!other) return;
  const apart = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
  zoomed(state, view, apart(at) / apart(before), (at.x + other.x) / 2, (at.y + other.y) / 2);
  shifted(state, view, (at.x - before.x) / 2, (at.y - before.y) / 2);
}

// To the right: a wider window, less contrast. Upwards: a lower level, brighter.
function windowed(state, view, start, at) {
  const across = (at.x - start.x) / view.canvas.width, along = (at.y - start.y) / view.canvas.height;
  state.setWindow(start.width * Math.exp(3 * across), start.level + along * start.width);
}

// Whether the key means something here.
function pressed(state, view, event) {
  const { axis } = view.plane, { cutting } = view;
  const arrows = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[event.key];
  const far = { PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key];
  if (arrows && event.shiftKey) {
    moved(state, cutting.along, state.at[cutting.along] + arrows[0]);
    moved(state, cutting.down, state.at[cutting.down] + (cutting.reversed ? arrows[1] : -arrows[1]));
  } else if (arrows) moved(state, axis, state.at[axis] + arrows[0] + arrows[1]);
  else if (far !== undefined) moved(state, axis, state.at[axis] + far);
  else if (event.key === "+" || event.key === "=") zoomed(state, view, 1.25);
  else if (event.key === "-") zoomed(state, view, 0.8);
  else if (event.key === "0") state.reset(view);
  else return false;
  return true;
}
