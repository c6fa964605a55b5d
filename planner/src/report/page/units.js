// Figures, elements and colours that the other parts share.

const KIB = 1024;

/** Bytes for people, as the program writes them. */
function human(bytes) {
  const size = Math.abs(bytes);
  if (size < KIB) return `${bytes} B`;
  if (size < KIB ** 2) return `${(bytes / KIB).toFixed(2)} KiB`;
  if (size < KIB ** 3) return `${(bytes / KIB ** 2).toFixed(2)} MiB`;
  if (size < KIB ** 4) return `${(bytes / KIB ** 3).toFixed(2)} GiB`;
  return `${(bytes / KIB ** 4).toFixed(2)} TiB`;
}

/** An element with text and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Fills a table: heads, then rows of cells; cells of columns named in `numbers` stand to the right. */
function fill(table, heads, rows, numbers = []) {
  const cell = (tag) => (content, column) => {
    const kind = numbers.includes(column) ? "number" : "path";
    return element(tag, tag === "th" ? { class: kind, scope: "col" } : { class: kind }, content);
  };
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads.map(cell("th")))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell("td"))))),
  );
}

/** A category's name behind its colour. */
function category(plan, index) {
  const box = element("i");
  box.style.background = plan.colours[index];
  const span = element("span", {}, box, plan.categories[index]);
  return span;
}

/** A canvas made ready for the screen's own pixels: [context, width, height]. */
function ready(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  return [context, width, height];
}

/**
 * Lets a pointer, a finger or the arrow keys go through what a picture shows. `items` gives its parts in order, `at(x, y)` the number of
 * the part at a place of the canvas, `tell(item)` says what a part is.
 */
function pointed(canvas, items, at, tell) {
  let looked = -1;
  const look = (number) => {
    const all = items();
    if (number < 0 || number >= all.length) return;
    looked = number;
    tell(all[number]);
  };
  const point = (pointer) => {
    const box = canvas.getBoundingClientRect();
    look(at(pointer.clientX - box.left, pointer.clientY - box.top, box));
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (key) => {
    const last = items().length - 1;
    const steps = { ArrowRight: looked + 1, ArrowDown: looked + 1, ArrowLeft: Math.max(looked - 1, 0), ArrowUp: Math.max(looked - 1, 0), Home: 0, End: last };
    if (steps[key.key] === undefined) return;
    key.preventDefault();
    look(Math.min(steps[key.key], last));
  });
}

/** What the allocator may take; without end where nothing says it. */
function limit(report) {
  return typeof report.capacity === "number" ? report.capacity : Infinity;
}

/** A text on a ground of its own, so that no line runs through it. */
function labelled(context, text, x, y) {
  const wide = context.measureText(text).width;
  const left = context.textAlign === "right" ? x - wide : x;
  context.save();
  context.fillStyle = colour("panel");
  context.globalAlpha = 0.85;
  context.fillRect(left - 2, y - 11, wide + 4, 14);
  context.restore();
  context.fillText(text, x, y);
}

/** A colour of the page's style. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Round steps between 0 and a number of bytes. */
function ticks(most) {
  let step = 1;
  while (most / step > 6) step *= 2;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, number) => number * step);
}
