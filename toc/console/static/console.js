// What the console does beyond plain pages: times in the viewer's zone, copy buttons, charts, tidy filters in the URL.
// Everything works without it, in UTC and with a "Search" button.
"use strict";
(() => {
  const page = document.documentElement;
  const browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const said = document.getElementById("said");

  // The zone for the next page; this one is put right here if it was another.
  document.cookie = `toc-zone=${browserZone}; Path=/console; SameSite=Lax`;
  const zone = "zoneChosen" in page.dataset ? page.dataset.zone : browserZone;
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  function localTimes(root) {
    if (zone === page.dataset.zone) return;
    for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
  }
  function putZoneRight() {
    if (zone === page.dataset.zone) return;
    const note = document.querySelector("footer p");
    if (note) note.textContent = note.textContent.replace(page.dataset.zone, zone);
    for (const field of document.querySelectorAll("input[name=zone]")) {
      if (field.value === page.dataset.zone) field.value = zone;
    }
  }

  function say(text) {
    said.textContent = text;
    setTimeout(() => { said.textContent = ""; }, 2500);
  }
  function showCopyButtons(root) {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    say(said.dataset.copied);
  });

  // A chosen file goes into the field beside it: the service takes text, and reads no files.
  function showFileFields() {
    for (const chooser of document.querySelectorAll("input[type=file][data-into]")) chooser.parentElement.hidden = false;
  }
  document.addEventListener("change", async (event) => {
    const chooser = event.target.closest("input[type=file][data-into]");
    const file = chooser && chooser.files[0];
    if (!file) return;
    const note = chooser.form.querySelector("[data-too-long]");
    let text = "";
    let wrong = file.size > Number(chooser.dataset.most) ? note.dataset.tooLong : "";
    try {
      if (!wrong) text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    } catch {
      wrong = note.dataset.notText;
    }
    chooser.form.elements[chooser.dataset.into].value = text;
    note.textContent = wrong;
    note.hidden = !wrong;
  });

  // Filters: nothing empty in the URL, and the token with what changes something.
  document.addEventListener("htmx:configRequest", (event) => {
    const parameters = event.detail.parameters;
    for (const name of [...parameters.keys()]) if (parameters.get(name) === "" || name === "csrf") parameters.delete(name);
    for (const field of event.detail.elt.querySelectorAll("[data-only-with]")) {
      if (!field.dataset.onlyWith.split(" ").some((name) => parameters.get(name))) parameters.delete(field.name);
    }
    const token = document.querySelector("meta[name=csrf]");
    if (event.detail.verb !== "get" && token) event.detail.headers["X-CSRF-Token"] = token.content;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    localTimes(event.target);
    showCopyButtons(event.target);
    const found = document.getElementById("found"); // said aloud, where the table itself would be too long
    if (found && event.target.id === "results") {
      found.textContent = `${found.dataset.words} ${event.target.querySelectorAll("tbody tr").length}`;
    }
  });
  for (const name of ["htmx:sendError", "htmx:responseError"]) document.addEventListener(name, () => say(said.dataset.failed));

  // A chart is drawn from its table, so that both always say the same.
  function draw(box) {
    const rows = [...document.querySelectorAll(`#${box.dataset.table} tbody tr`)];
    const place = Number(box.dataset.series);
    const times = rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000);
    const counts = rows.map((row) => Number(row.children[place].textContent.replaceAll(",", "")) || null);
    const step = times[1] - times[0];
    const style = getComputedStyle(box);
    const ink = getComputedStyle(document.body).color;
    const axis = { stroke: ink, font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: getComputedStyle(page).getPropertyValue("--line"), width: 1 };
    const whole = (values) => values.map((value) => (Number.isInteger(value) ? value.toLocaleString("en") : ""));
    return new uPlot({
      width: box.clientWidth, height: box.clientHeight, padding: [6, 6, 0, 0],
      legend: { show: false }, cursor: { show: false },
      tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), zone),
      scales: { x: { range: (_, first, last) => [first, last + step] }, y: { range: (_, _low, high) => [0, Math.max(high, 1) * 1.1] } },
      series: [{}, { stroke: style.color, fill: style.color, paths: uPlot.paths.bars({ size: [0.8, 24], align: 1 }), points: { show: false } }],
      axes: [
        { ...axis, grid: { show: false }, size: 22, space: 50, values: hours(times) },
        { ...axis, grid, size: 38, space: 28, values: (_, values) => whole(values) },
      ],
    }, [times, counts], box);
  }
  function hours(times) {
    const days = times.length > 1 && times[1] - times[0] > 3600;
    const short = new Intl.DateTimeFormat(page.lang, days ? { timeZone: zone, month: "numeric", day: "numeric" } : { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    return (_, values) => values.map((value) => short.format(new Date(value * 1000)));
  }
  function charts() {
    const boxes = [...document.querySelectorAll(".chart")];
    if (!boxes.length || !window.uPlot) return;
    let drawn = boxes.map(draw);
    new ResizeObserver(() => boxes.forEach((box, n) => {
      if (box.clientWidth) drawn[n].setSize({ width: box.clientWidth, height: box.clientHeight });
    })).observe(boxes[0].parentElement.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      drawn.forEach((chart) => chart.destroy());
      drawn = boxes.map(draw);
    });
  }

  localTimes(document);
  putZoneRight();
  showCopyButtons(document);
  showFileFields();
  charts();
})();
