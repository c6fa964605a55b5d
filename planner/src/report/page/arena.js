// The last step in one arena: time across, offsets up; a box for each buffer.

/** The boxes: [from, until, offset, bytes, part, name]. */
function drawArena(plan, canvas) {
  const { arena } = plan;
  const [context, width, height] = ready(canvas);
  context.fillStyle = colour("ground");
  context.fillRect(0, 0, width, height);
  for (const [from, until, offset, bytes, part] of arena.places) {
    const x = from / arena.length * width;
    const tall = bytes / arena.size * height;
    context.fillStyle = plan.colours[part];
    context.fillRect(x, height - offset / arena.size * height - tall, Math.max((until - from) / arena.length * width, 0.5), Math.max(tall, 0.25));
  }
}

function showArena(plan) {
  const { arena } = plan;
  if (!arena) return;
  document.getElementById("arena-section").hidden = false;
  const canvas = document.getElementById("arena");
  const more = (bytes) => `${human(bytes)} (${(100 * (bytes / arena.lower_bound - 1)).toFixed(2)} % more)`;
  document.getElementById("arena-figures").textContent =
    `With fixed offsets the step's ${arena.places.length} buffers take ${human(arena.size)}, ${arena.status}; at once at most ${human(arena.lower_bound)} is alive. ` +
    `The caching allocator reserves ${more(arena.reserved)} in that step, with expandable segments ${more(arena.expandable)}.`;
  canvas.setAttribute("aria-label", `${arena.places.length} buffers in an arena of ${human(arena.size)}`);
  const draw = () => drawArena(plan, canvas);
  draw();
  window.addEventListener("resize", draw);
  const at = (x, y, box) => {
    const event = x / box.width * arena.length;
    const byte = (1 - y / box.height) * arena.size;
    return arena.places.findIndex(([from, until, offset, bytes]) => event >= from && event < until && byte >= offset && byte < offset + bytes);
  };
  pointed(canvas, () => arena.places, at, ([from, until, offset, bytes, part, name]) => {
    document.getElementById("arena-note").textContent =
      `${arena.names[name]}: ${human(bytes)} of ${plan.categories[part]} at ${offset}, from event ${from} to ${until} of the step`;
  });
}
