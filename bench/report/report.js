(() => {
  "use strict";
  const table = document.getElementById("leaderboard");
  const sections = Array.from(table.tBodies).map((body) => ({
    body,
    rows: Array.from(body.rows).filter((row) => !row.classList.contains("title")),
  }));
  const rows = sections.flatMap((section) => section.rows);
  const shown = document.getElementById("shown");
  const words = document.getElementById("words");
  const chosen = document.getElementById("section");
  const heads = Array.from(table.tHead.rows[0].cells);
  let order = "";

  const report = () => {
    const left = rows.filter((row) => !row.hidden).length;
    shown.textContent = `${left} of ${rows.length} rows shown${order}`;
  };

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { body, rows } of sections) {
      const other = chosen.value !== "" && body.dataset.title !== chosen.value;
      for (const row of rows) {
        const text = `${body.dataset.title} ${row.textContent}`.toLowerCase();
        row.hidden = other || !wanted.every((word) => text.includes(word));
      }
      body.hidden = rows.every((row) => row.hidden);
    }
    report();
  };

  const compare = (numeric) => (a, b) =>
    numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });

  const sort = (head, k) => {
    const other = head.dataset.best === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === head.dataset.best ? other : head.dataset.best;
    const sign = direction === "ascending" ? 1 : -1;
    const by = compare(head.classList.contains("number"));
    const value = (row) => row.cells[k].dataset.value;
    for (const { body, rows } of sections) {
      const known = rows.filter((row) => value(row) !== "");
      const unknown = rows.filter((row) => value(row) === "");
      known.sort((a, b) => sign * by(value(a), value(b)));
      body.append(...known, ...unknown);
    }
    for (const one of heads) if (one.dataset.best) one.setAttribute("aria-sort", one === head ? direction : "none");
    order = `; each data set is sorted by ${head.textContent}, ${direction}`;
    report();
  };

  heads.forEach((head, k) => {
    if (!head.dataset.best) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, k));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });
  words.addEventListener("input", filter);
  chosen.addEventListener("change", filter);
  const controls = document.getElementById("controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  filter();
})();
