// The timeline: what is alive by category, stacked, over the events; hover, zoom, keys.
//
// A sample is [from, to, event, allocated, reserved, bytes by category ...]: the highest moment of the events from..to.

const [FROM, TO, EVENT, ALLOCATED, RESERVED, CATEGORIES] = [0, 1, 2, 3, 4, 5];
const MARGIN = { left: 78, right: 8, top: 22, bottom: 26 };

class Timeline {
  constructor(plan, place, title, most) {
    this.plan = plan;
    this.most = most;
    this.canvas = element("canvas", { tabindex: "0", role: "img", "aria-label": `${title}: highest ${human(plan.report.peak_allocated)} at event ${plan.peak} of ${plan.events}` });
    this.moment = element("div", { class: "moment", "aria-live": "polite" });
    const button = (text, label, act) => {
      const made = element("button", { type: "button", "aria-label": label }, text);
      made.addEventListener("click", act);
      return made;
    };
    const buttons = element("div", { class: "buttons" },
      button("−", "zoom out", () => this.zoom(2)), button("+", "zoom in", () => this.zoom(0.5)),
      button("peak", "show the events near the peak", () => this.show(plan.peak - 200, plan.peak + 200)),
      button("all", "show all events", () => this.show(0, plan.events)));
    place.append(element("div", { class: "timeline" }, element("div", { class: "bar" }, element("h3", {}, title), buttons), this.canvas, this.moment));
    this.view = [0, plan.events];
    this.at = this.index(plan.peak);
    this.listen();
    this.draw();
    this.tell();
  }

  /** The number of the sample that has an event. */
  index(event) {
    let [low, high] = [0, this.plan.samples.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.plan.samples[middle][TO] <= event) low = middle + 1; else high = middle;
    }
    return low;
  }

  /** Shows the events from..to, at least 8 of them. */
  show(from, to) {
    const width = Math.min(Math.max(to - from, 8), this.plan.events);
    const first = Math.min(Math.max(from, 0), this.plan.events - width);
    this.view = [first, first + width];
    this.draw();
  }

  /** Zooms around an event, or around the one that is looked at. */
  zoom(factor, around = this.plan.samples[this.at][EVENT]) {
    const [from, to] = this.view;
    this.show(around - (around - from) * factor, around + (to - around) * factor);
  }

  /** The event under a pointer, in a view. */
  under(pointer, [from, to] = this.view) {
    const box = this.canvas.getBoundingClientRect();
    return from + (pointer.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right) * (to - from);
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointermove", (pointer) => {
      if (this.held) {
        const { view, event } = this.held;
        const moved = event - this.under(pointer, view);
        this.show(view[0] + moved, view[1] + moved);
      }
      this.look(this.index(this.under(pointer)));
    });
    canvas.addEventListener("pointerdown", (pointer) => {
      this.held = { view: this.view, event: this.under(pointer) };
      canvas.setPointerCapture(pointer.pointerId);
    });
    canvas.addEventListener("pointerup", () => { this.held = null; });
    canvas.addEventListener("wheel", (wheel) => {
      wheel.preventDefault();
      this.zoom(wheel.deltaY > 0 ? 1.25 : 0.8, this.under(wheel));
    }, { passive: false });
    canvas.addEventListener("keydown", (key) => {
      const acts = { "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), "0": () => this.show(0, this.plan.events),
        ArrowLeft: () => this.look(this.at - 1), ArrowRight: () => this.look(this.at + 1), Home: () => this.look(this.index(this.plan.peak)) };
      if (acts[key.key]) { key.preventDefault(); acts[key.key](); }
    });
    window.addEventListener("resize", () => this.draw());
  }

  /** Looks at a sample. */
  look(at) {
    this.at = Math.min(Math.max(at, 0), this.plan.samples.length - 1);
    this.draw();
    this.tell();
  }

  draw() {
    const [context, width, height] = ready(this.canvas);
    const [from, to] = this.view;
    const x = (event) => MARGIN.left + (event - from) / (to - from) * (width - MARGIN.left - MARGIN.right);
    const y = (bytes) => height - MARGIN.bottom - bytes / this.most * (height - MARGIN.top - MARGIN.bottom);
    this.axes(context, width, height, x, y);
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, 0, width - MARGIN.left - MARGIN.right, height);
    context.clip();
    this.stack(context, x, y);
    this.phases(context, height, x);
    this.lines(context, width, x, y);
    context.restore();
  }

  axes(context, width, height, x, y) {
    context.fillStyle = colour("quiet");
    context.strokeStyle = colour("line");
    context.textAlign = "right";
    for (const bytes of ticks(this.most)) {
      context.fillText(human(bytes), MARGIN.left - 8, y(bytes) + 4);
      context.beginPath();
      context.moveTo(MARGIN.left, y(bytes));
      context.lineTo(width - MARGIN.right, y(bytes));
      context.stroke();
    }
    context.textAlign = "left";
    context.fillText(`event ${Math.round(this.view[0])}`, MARGIN.left, height - 6);
    context.textAlign = "right";
    context.fillText(`${Math.round(this.view[1])}`, width - MARGIN.right, height - 6);
  }

  /** The samples in view, one a pixel at most: of several the highest. */
  visible() {
    const [from, to] = this.view;
    const [first, last] = [this.index(from), this.index(to - 1)];
    const step = (to - from) / 1600;
    const kept = [];
    for (let at = first; at <= last; at += 1) {
      const sample = this.plan.samples[at];
      const before = kept[kept.length - 1];
      if (before && sample[TO] - before.from <= step) {
        before.to = sample[TO];
        if (sample[ALLOCATED] > before.sample[ALLOCATED]) before.sample = sample;
      } else {
        kept.push({ from: sample[FROM], to: sample[TO], sample });
      }
    }
    return kept;
  }

  stack(context, x, y) {
    const kept = this.visible();
    const floor = new Float64Array(kept.length);
    const width = this.plan.categories.length;
    for (let part = 0; part < width; part += 1) {
      const top = kept.map(({ sample }, at) => floor[at] + sample[CATEGORIES + part]);
      if (!kept.some((_, at) => top[at] > floor[at])) continue;
      context.fillStyle = this.plan.colours[part];
      context.beginPath();
      kept.forEach((stretch, at) => {
        context.lineTo(x(stretch.from), y(top[at]));
        context.lineTo(x(stretch.to), y(top[at]));
      });
      for (let at = kept.length - 1; at >= 0; at -= 1) {
        context.lineTo(x(kept[at].to), y(floor[at]));
        context.lineTo(x(kept[at].from), y(floor[at]));
      }
      context.fill();
      floor.set(top);
    }
    context.strokeStyle = colour("quiet");
    context.setLineDash([4, 3]);
    context.beginPath();
    for (const { from, to, sample } of kept) {
      context.lineTo(x(from), y(sample[RESERVED]));
      context.lineTo(x(to), y(sample[RESERVED]));
    }
    context.stroke();
    context.setLineDash([]);
  }

  phases(context, height, x) {
    context.textAlign = "left";
    let start = 0;
    for (const [end, step, name] of this.plan.phases) {
      context.strokeStyle = colour("line");
      context.beginPath();
      context.moveTo(x(end + 1), 4);
      context.lineTo(x(end + 1), height - MARGIN.bottom);
      context.stroke();
      const label = `${step} ${name}`;
      const left = Math.max(x(start), MARGIN.left);
      if (x(end + 1) - left > context.measureText(label).width + 8) {
        context.fillStyle = colour("quiet");
        context.fillText(label, left + 4, 14);
      }
      start = end + 1;
    }
  }

  lines(context, width, x, y) {
    const line = (style, ...points) => {
      context.strokeStyle = style;
      context.beginPath();
      points.forEach(([across, up]) => context.lineTo(across, up));
      context.stroke();
    };
    const { peak, report } = this.plan;
    if (limit(report) <= this.most) {
      line(colour("mark"), [MARGIN.left, y(report.capacity)], [width, y(report.capacity)]);
      context.fillStyle = colour("mark");
      context.textAlign = "left";
      labelled(context, `${human(report.capacity)} free`, MARGIN.left + 6, y(report.capacity) - 5);
    }
    const [across, up] = [x(peak + 0.5), y(report.peak_allocated)];
    context.fillStyle = colour("mark");
    context.beginPath();
    context.arc(across, up, 4, 0, 2 * Math.PI);
    context.fill();
    const label = `peak ${human(report.peak_allocated)}`;
    const right = across + context.measureText(label).width + 12 > width;
    context.textAlign = right ? "right" : "left";
    labelled(context, label, across + (right ? -8 : 8), Math.max(up - 6, 12));
    const seen = this.plan.samples[this.at][EVENT] + 0.5;
    line(colour("text"), [x(seen), MARGIN.top], [x(seen), y(0)]);
  }

  /** Says what is alive at the sample that is looked at. */
  tell() {
    const { plan } = this;
    const sample = plan.samples[this.at];
    const phase = plan.phases.find(([end]) => sample[EVENT] <= end);
    const stretch = sample[TO] - sample[FROM] > 1 ? `, the highest of ${sample[FROM]} to ${sample[TO] - 1}` : "";
    const where = phase ? `step ${phase[1]} ${phase[2]}` : "the end";
    const head = `Event ${sample[EVENT]}${stretch}, in ${where}: ${human(sample[ALLOCATED])} allocated, ${human(sample[RESERVED])} reserved`;
    const parts = element("table");
    const held = plan.categories.map((_, part) => [part, sample[CATEGORIES + part]]).filter(([, bytes]) => bytes > 0);
    fill(parts, ["category", "bytes"], held.map(([part, bytes]) => [category(plan, part), human(bytes)]), [1]);
    const largest = element("table");
    const alive = plan.alive[this.at];
    const rows = [];
    for (let place = 0; place < alive.length; place += 3) {
      const [module, what] = plan.groups[alive[place]];
      const count = alive[place + 1] > 1 ? ` ×${alive[place + 1]}` : "";
      rows.push([human(alive[place + 2]), `${module || "the model"}${count}: ${what}`]);
    }
    fill(largest, ["bytes", "largest alive"], rows, [0]);
    this.moment.replaceChildren(element("p", { class: "head" }, head), parts, largest);
  }
}
