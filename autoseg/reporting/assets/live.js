// While a training runs the page looks for a newer one, and goes on where the reader was.

(() => {
const PLACE = `autoseg-report ${location.pathname}`;
const HANDS_OFF = 5000; // ms since a key or the pointer was pressed: nothing is taken from under a reader's hands
let pressed = 0;

function stored(value) {
  try { // a page that is opened from a disk may have no memory: then it begins at its top
    if (value !== undefined) return sessionStorage.setItem(PLACE, JSON.stringify(value));
    const found = JSON.parse(sessionStorage.getItem(PLACE));
    sessionStorage.removeItem(PLACE);
    return found;
  } catch { return null; }
}

// Every figure by its section, its name and which of that name it is; what a reader can set in it, in order.
function settings() {
  const found = new Map(), times = new Map();
  for (const figure of document.querySelectorAll("[data-block]")) {
    const name = `${figure.closest("section").id}: ${figure.querySelector("figcaption").textContent}`, n = times.get(name) || 0;
    times.set(name, n + 1);
    found.set(`${name} ${n}`, [...figure.querySelectorAll("select, input, details, button[aria-pressed], th[aria-sort]")]);
  }
  return found;
}

function stateOf(control) {
  if (control.tagName === "DETAILS") return control.open;
  if (control.tagName === "TH") return control.getAttribute("aria-sort");
  if (control.tagName === "BUTTON") return control.getAttribute("aria-pressed");
  if (control.tagName === "SELECT") return control.selectedOptions[0]?.textContent; // its number may be another's later
  return control.type === "checkbox" ? control.checked : control.value;
}

function restore(control, state) {
  if (stateOf(control) === state) return;
  if (control.tagName === "DETAILS") control.open = state;
  else if (control.tagName === "BUTTON") control.click();
  else if (control.tagName === "TH") {
    if (state === "none") return;
    control.querySelector("button").click();
    if (state === "descending") control.querySelector("button").click();
  } else {
    const old = control.value;
    if (control.type === "checkbox") control.checked = state;
    else if (control.tagName !== "SELECT") control.value = state;
    else control.value = [...control.options].find((option) => option.textContent === state)?.value ?? old;
    if (stateOf(control) !== state) return; // a choice that there is no more
    for (const event of ["input", "change"]) control.dispatchEvent(new Event(event));
  }
}

function focusable() {
  return [...document.querySelectorAll("a, button, select, input, summary, [tabindex]")];
}

function remember() {
  const figures = [...settings()].map(([name, controls]) => [name, controls.map(stateOf)]), all = focusable();
  stored({ top: window.scrollY, theme: theme.value, figures, focus: [all.length, all.indexOf(document.activeElement)] });
}

function goOn(before) {
  if (!before) return;
  theme.value = before.theme;
  coloured(before.theme);
  const now = settings();
  for (const [name, states] of before.figures) {
    const controls = now.get(name) || [];
    if (controls.length === states.length) controls.forEach((control, place) => restore(control, states[place]));
  }
  const all = focusable(), [count, place] = before.focus;
  if (count === all.length && place >= 0) all[place].focus({ preventScroll: true });
  window.scrollTo(0, before.top);
}

function live(seconds) {
  const wanted = document.getElementById("live");
  for (const event of ["keydown", "pointerdown", "wheel"]) {
    document.addEventListener(event, () => { pressed = Date.now(); }, { capture: true, passive: true });
  }
  const look = () => {
    const looking = document.querySelector(".viewer-open"); // whose reader would lose the place
    if (!wanted.checked || looking) return setTimeout(look, 1000 * seconds);
    const since = Date.now() - pressed;
    if (since < HANDS_OFF) return setTimeout(look, HANDS_OFF - since);
    remember();
    return location.reload();
  };
  setTimeout(look, 1000 * seconds);
}

goOn(stored());
if (document.documentElement.dataset.reload) live(Number(document.documentElement.dataset.reload));
})();
