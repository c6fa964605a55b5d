// Puts the page together from its data.

const data = JSON.parse(document.getElementById("data").textContent);
const [first, second] = [data.plan, data.against];

/** A figure with its exact bytes. */
function figure(id, name, bytes, other) {
  const exact = bytes === null ? "" : `${bytes} bytes`;
  const versus = other === undefined ? [] : [element("small", {}, `${human(other)} in the other plan`)];
  return element("div", {}, element("dt", {}, name),
    element("dd", { id, "data-bytes": bytes === null ? "" : bytes }, bytes === null ? "none" : human(bytes), element("small", {}, exact), ...versus));
}

/** Where a run that does not fit runs out. */
function runsOut(failure) {
  if (!failure) return "";
  const where = failure.phase === null ? "at the end" : `in step ${failure.step} ${failure.phase}`;
  return `; runs out ${where}, at ${failure.op} in ${failure.module || "the model"}, which asks for ${human(failure.requested)}`;
}

function showFigures() {
  const { report } = first;
  const verdict = document.getElementById("verdict");
  verdict.className = report.fits ? "fits" : "fails";
  verdict.textContent = report.fits
    ? `Fits: ${human(report.peak_reserved)} of ${human(report.capacity)} free, ${human(report.headroom)} to spare`
    : `Does not fit: ${human(report.peak_reserved)} needed, ${human(report.capacity)} free${runsOut(report.out_of_memory)}`;
  const other = second ? second.report : {};
  document.getElementById("figures").append(
    figure("peak-allocated", "Peak allocated", report.peak_allocated, other.peak_allocated),
    figure("peak-reserved", "Peak reserved", report.peak_reserved, other.peak_reserved),
    figure("capacity", "Free for the allocator", report.capacity, other.capacity));
  if (!report.parameters) return;
  const { count, bytes } = report.parameters;
  document.getElementById("figures").append(
    figure("parameters", `Parameters: ${count.toLocaleString("en")}`, bytes, other.parameters && other.parameters.bytes));
}

function showTimelines() {
  const place = document.getElementById("timelines");
  const plans = second ? [first, second] : [first];
  const most = 1.06 * Math.max(...plans.map((plan) => Math.max(plan.report.peak_allocated, plan.report.peak_reserved)));
  window.timelines = plans.map((plan) => new Timeline(plan, place, plan.title, most));
  const legend = document.getElementById("legend");
  first.categories.forEach((_, part) => {
    if (plans.some((plan) => plan.samples.some((sample) => sample[CATEGORIES + part] > 0))) legend.append(category(first, part));
  });
  legend.append(element("span", {}, "- - - reserved"));
  if (plans.some((plan) => limit(plan.report) <= most)) legend.append(element("span", { class: "capacity" }, "— free for the allocator"));
}

function showTensors() {
  const rows = first.tensors.map(([bytes, count, part, place, by]) =>
    [human(bytes), String(bytes), category(first, part), `${place || "the model"}${count > 1 ? ` ×${count}` : ""}`, by]);
  fill(document.getElementById("tensors"), ["", "bytes", "category", "whose", "made by"], rows, [0, 1]);
}

function showPhases() {
  const keys = ["allocated", "peak_allocated", "reserved", "peak_reserved"];
  const rows = first.report.phases.map((phase) => [`step ${phase.step} ${phase.phase}`, ...keys.map((key) => human(phase[key]))]);
  fill(document.getElementById("phases"), ["", "allocated", "peak allocated", "reserved", "peak reserved"], rows, [1, 2, 3, 4]);
}

function showChanges() {
  if (!data.changes) return;
  document.getElementById("changes-section").hidden = false;
  if (first.title === second.title && data.changes.moved.length === 0) {
    document.getElementById("changes").append(element("caption", {},
      "Both are the same plan: flags apply to both. --against takes a run file or a snapshot for another run of the model."));
    return;
  }
  const facts = [...data.changes.run, ...data.changes.facts].map((fact) => [fact.what, fact.after, fact.before, ""]);
  const signed = (change) => (change > 0 ? `+${human(change)}` : human(change));
  const moved = [...data.changes.peaks, ...data.changes.moved].slice(0, 60)
    .map((row) => [`${row.kind} ${row.name}`, human(row.after), human(row.before), signed(row.after - row.before)]);
  fill(document.getElementById("changes"), ["", "this plan", "the other", "difference"], [...facts, ...moved], [3]);
}

function showSettings() {
  const { warnings, notes } = first.report;
  const other = second ? second.report : null;
  const rows = [];
  for (const [name, of] of [["model", (report) => report.model], ["run", (report) => report.run], ["gpu", (report) => report.gpu]]) {
    const both = [of(first.report), other ? of(other) : {}];
    for (const key of new Set([...Object.keys(both[0]), ...Object.keys(both[1])])) {
      const values = both.map((values) => (values[key] === null || values[key] === undefined || values[key] === "" ? "" : String(values[key])));
      if (values.some((value) => value !== "")) rows.push([`${name}: ${key}`, ...(other ? values : values.slice(0, 1))]);
    }
  }
  fill(document.getElementById("settings"), other ? ["", "this plan", "the other"] : ["", ""], rows);
  const remarks = [...warnings.map((text) => `Warning: ${text}`), ...notes.map((text) => `Note: ${text}`)];
  document.getElementById("remarks").append(...remarks.map((text) => element("li", {}, text)));
}

showFigures();
showTimelines();
showChanges();
showTensors();
showTreemap(first);
showSegments(first);
showArena(first);
showPhases();
showSettings();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.dispatchEvent(new Event("resize")));
