// The allocator's segments at the peak: address after address in rows, blocks in the colour of what they hold.

const ROWS = 24;

/** The blocks with their places in the rows: [first byte, block, segment]. */
function laidOut(plan) {
  const placed = [];
  let at = 0;
  for (const segment of plan.segments) {
    for (const block of segment.blocks) {
      placed.push([at, block, segment]);
      at += block[0];
    }
  }
  return [placed, at];
}

function drawSegments(plan, canvas) {
  const [placed, total] = laidOut(plan);
  const [context, width, height] = ready(canvas);
  const row = total / ROWS;
  const tall = height / ROWS;
  context.fillStyle = colour("line");
  context.fillRect(0, 0, width, height);
  for (const [first, [size, , state, , part]] of placed) {
    context.fillStyle = state === "used" ? plan.colours[part] : state === "waiting" ? colour("mark") : colour("ground");
    strips(first, size, row, (number, from, to) => {
      context.fillRect(from * width, number * tall + 1, Math.max((to - from) * width - 0.5, 0.5), tall - 2);
    });
  }
  context.fillStyle = colour("text");
  let at = 0;
  for (const segment of plan.segments) {
    const number = Math.floor(at / row);
    context.fillRect((at / row - number) * width, number * tall, 1, tall);
    at += segment.size;
  }
}

/** The strips of rows that a stretch of bytes covers: the row, and the shares of it where it begins and ends. */
function strips(first, size, row, draw) {
  const last = Math.min(Math.floor((first + size) / row), ROWS - 1);
  for (let number = Math.floor(first / row); number <= last; number += 1) {
    const begin = Math.max(first - number * row, 0);
    const end = Math.min(first + size - number * row, row);
    if (end > begin) draw(number, begin / row, end / row);
  }
}

function showSegments(plan) {
  const canvas = document.getElementById("segments");
  const [placed, total] = laidOut(plan);
  const sum = (keep, field) => placed.reduce((bytes, [, block]) => bytes + (keep(block) ? field(block) : 0), 0);
  const free = sum((block) => block[2] === "free", (block) => block[0]);
  const used = sum((block) => block[2] === "used", (block) => block[0]);
  const slack = sum((block) => block[2] === "used", (block) => block[0] - block[1]);
  const largest = placed.reduce((most, [, block]) => (block[2] === "free" ? Math.max(most, block[0]) : most), 0);
  const share = total > 0 ? (100 * free / total).toFixed(1) : "0.0";
  document.getElementById("fragmentation").textContent =
    `${plan.segments.length} segments of ${human(total)}: ${human(used)} in use, ${human(free)} cached and free (${share} %), the largest free block ${human(largest)}; ` +
    `${human(slack)} of what is in use is rounding. Free blocks are blank; a bar stands where a segment begins.`;
  canvas.setAttribute("aria-label", `${plan.segments.length} segments, ${share} % free`);
  const draw = () => drawSegments(plan, canvas);
  draw();
  window.addEventListener("resize", draw);
  const at = (x, y, box) => {
    const number = Math.min(Math.floor(y / box.height * ROWS), ROWS - 1);
    const byte = (number + x / box.width) * total / ROWS;
    return placed.findIndex(([first, block]) => byte >= first && byte < first + block[0]);
  };
  pointed(canvas, () => placed, at, ([, [size, requested, state, group], segment]) => {
    const whose = state === "used" && group >= 0 ? `${plan.groups[group][0] || "the model"}: ${plan.groups[group][1]}, ${human(requested)} asked for` : state;
    document.getElementById("segments-note").textContent = `${human(size)}, ${whose}; in a segment of ${human(segment.size)} for ${segment.kind} requests`;
  });
}
