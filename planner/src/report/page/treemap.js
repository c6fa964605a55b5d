// The module tree at the peak: areas are bytes, colours what they are for.

/** The tree of the modules' paths; a node has its own bytes by category, and all below it. */
function tree(plan) {
  const root = { name: "", path: "", own: plan.categories.map(() => 0), children: new Map(), bytes: 0 };
  for (const [path, ...bytes] of plan.modules) {
    let node = root;
    for (const name of path === "" ? [] : path.split(".")) {
      if (!node.children.has(name)) {
        const inner = node.path === "" ? name : `${node.path}.${name}`;
        node.children.set(name, { name, path: inner, own: plan.categories.map(() => 0), children: new Map(), bytes: 0 });
      }
      node = node.children.get(name);
    }
    bytes.forEach((size, part) => { node.own[part] += size; });
  }
  const sum = (node) => {
    node.bytes = node.own.reduce((all, size) => all + size, 0);
    for (const child of node.children.values()) node.bytes += sum(child);
    return node.bytes;
  };
  sum(root);
  return joined(root);
}

/** The tree without modules that have nothing but one child: `transformer.h` is one box. */
function joined(node) {
  const children = [...node.children.values()].map(joined);
  const [only] = children;
  if (node.path !== "" && children.length === 1 && only.bytes === node.bytes) return { ...only, name: `${node.name}.${only.name}` };
  return { ...node, children: new Map(children.map((child) => [child.name, child])) };
}

/** Squarified rows (Bruls, Huizing, van Wijk): items with their boxes. */
function squarified(items, box) {
  const rest = items.filter((item) => item.bytes > 0).sort((a, b) => b.bytes - a.bytes);
  const placed = [];
  let { x, y, w, h } = box;
  let total = rest.reduce((all, item) => all + item.bytes, 0);
  while (rest.length > 0 && w > 0 && h > 0) {
    const scale = w * h / total;
    const side = Math.min(w, h);
    const worst = (row, sum) => Math.max(...[row[0], row[row.length - 1]].map(({ bytes }) => {
      const [area, all] = [bytes * scale, sum * scale];
      return Math.max(side * side * area / (all * all), all * all / (side * side * area));
    }));
    const row = [rest.shift()];
    let sum = row[0].bytes;
    while (rest.length > 0 && worst([...row, rest[0]], sum + rest[0].bytes) <= worst(row, sum)) {
      sum += rest[0].bytes;
      row.push(rest.shift());
    }
    const thick = sum * scale / side;
    let at = 0;
    for (const item of row) {
      const long = item.bytes / sum * side;
      placed.push([item, w < h ? { x: x + at, y, w: long, h: thick } : { x, y: y + at, w: thick, h: long }]);
      at += long;
    }
    if (w < h) { y += thick; h -= thick; } else { x += thick; w -= thick; }
    total -= sum;
  }
  return placed;
}

/** Draws a node in its box; boxes of modules are noted for the pointer, inner ones last. */
function drawNode(context, plan, node, box, noted) {
  noted.push([node, box]);
  const titled = box.h > 36 && box.w > 72 && node.path !== "";
  const inner = titled ? { x: box.x + 1, y: box.y + 15, w: box.w - 2, h: box.h - 16 } : { x: box.x + .5, y: box.y + .5, w: box.w - 1, h: box.h - 1 };
  if (titled) {
    context.fillStyle = colour("text");
    context.textAlign = "left";
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.w - 4, 15);
    context.clip();
    context.fillText(fitting(context, [`${node.name}  ${human(node.bytes)}`, node.name, human(node.bytes)], box.w - 6), box.x + 3, box.y + 12);
    context.restore();
  }
  const own = node.own.map((bytes, part) => ({ bytes, part }));
  const small = inner.w * inner.h < 12;
  const items = small ? [{ bytes: node.bytes, part: largestPart(node) }] : [...node.children.values(), ...own];
  for (const [item, place] of squarified(items, inner)) {
    if (item.children) {
      drawNode(context, plan, item, place, noted);
    } else {
      context.fillStyle = plan.colours[item.part];
      context.fillRect(place.x, place.y, Math.max(place.w - .5, .3), Math.max(place.h - .5, .3));
      if (small) continue;
      const own = node.own.map((bytes, part) => (part === item.part ? bytes : 0));
      noted.push([{ path: `${node.path || "the model"} itself`, own, children: new Map(), bytes: item.bytes }, place]);
      if (place.h < 18) continue;
      context.fillStyle = "#000000";
      context.textAlign = "left";
      context.fillText(fitting(context, [`${plan.categories[item.part]}  ${human(item.bytes)}`, human(item.bytes)], place.w - 8), place.x + 4, place.y + 14);
    }
  }
}

/** The first of these texts that is no wider; none where all are. */
function fitting(context, texts, width) {
  return texts.find((text) => context.measureText(text).width <= width) || "";
}

/** The category of which a node and all below it have most. */
function largestPart(node) {
  const parts = partsOf(node);
  return parts.indexOf(Math.max(...parts));
}

/** Bytes by category of a node and all below it. */
function partsOf(node) {
  const parts = [...node.own];
  for (const child of node.children.values()) partsOf(child).forEach((bytes, part) => { parts[part] += bytes; });
  return parts;
}

function showTreemap(plan) {
  const canvas = document.getElementById("treemap");
  const root = tree(plan);
  canvas.setAttribute("aria-label", `modules by the bytes that they hold at the peak: ${plan.modules.length} of them`);
  let noted = [];
  const draw = () => {
    const [context, width, height] = ready(canvas);
    noted = [];
    drawNode(context, plan, root, { x: 0, y: 0, w: width, h: height }, noted);
  };
  draw();
  window.addEventListener("resize", draw);
  const at = (x, y) => noted.findLastIndex(([, box]) => x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h);
  pointed(canvas, () => noted, at, ([node]) => {
    const parts = partsOf(node).map((bytes, part) => [bytes, plan.categories[part]]).filter(([bytes]) => bytes > 0);
    const words = parts.sort((a, b) => b[0] - a[0]).map(([bytes, name]) => `${name} ${human(bytes)}`).join(", ");
    document.getElementById("treemap-note").textContent = `${node.path || "the model"}: ${human(node.bytes)}: ${words}`;
  });
}
