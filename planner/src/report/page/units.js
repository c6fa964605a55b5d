// Figures, elements and colours that the other parts share.

const KIB = 1024;

/** Bytes for people, as the program writes them. */
function human(bytes) {
  const size = Math.abs(bytes);
  if (size < KIB) return `${bytes} B`;
  if (size < KIB ** 2) return `${(bytes / KIB).toFixed(2)} KiB`;
  if (size < KIB ** 3) return `${(bytes / KIB ** 2).toFixed(2)} MiB`;
  return `${(bytes / KIB ** 3).toFixed(2)} GiB`;
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
