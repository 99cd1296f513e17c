(() => {
  "use strict";
  const table = document.getElementById("leaderboard");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const shown = document.getElementById("shown");
  const words = document.getElementById("words");
  const variant = document.getElementById("variant");
  const heads = Array.from(table.tHead.rows[0].cells);
  const ofVariant = heads.findIndex((head) => head.classList.contains("is-variant"));
  let order = "";

  const tell = () => {
    const left = rows.filter((row) => !row.hidden).length;
    shown.textContent = `${left} of ${rows.length} rows shown${order}`;
  };

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const other = variant.value && row.cells[ofVariant].dataset.value !== variant.value;
      row.hidden = Boolean(other) || !wanted.every((word) => text.includes(word));
    }
    tell();
  };

  const compare = (numeric) => (a, b) =>
    numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });

  const sort = (head, k) => {
    const other = head.dataset.best === "ascending" ? "descending" : "ascending";
    const way = head.getAttribute("aria-sort") === head.dataset.best ? other : head.dataset.best;
    const sign = way === "ascending" ? 1 : -1;
    const by = compare(head.classList.contains("number"));
    const value = (row) => row.cells[k].dataset.value;
    const known = rows.filter((row) => value(row) !== "");
    const unknown = rows.filter((row) => value(row) === "");
    known.sort((a, b) => sign * by(value(a), value(b)));
    body.append(...known, ...unknown);
    for (const one of heads) if (one.dataset.best) one.setAttribute("aria-sort", one === head ? way : "none");
    order = `, sorted by ${head.textContent}, ${way}`;
    tell();
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
  variant.addEventListener("change", filter);
  const controls = document.getElementById("controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  filter();
})();
