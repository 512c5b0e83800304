"use strict";
// Long tables: sorted by a press on a column's name, filtered by words, saved as text.
const tables = (() => {
  const LONG = 8;
  const value = (cell) => {
    if (!cell) return "";
    const figure = Number(cell.dataset.v || NaN);
    return Number.isNaN(figure) ? cell.textContent.trim() : figure;
  };

  function compare(a, b) {
    const [first, second] = [typeof a === "number", typeof b === "number"];
    if (first && second) return a - b;
    // Figures before words, words by their language's order.
    return first !== second ? second - first : a.localeCompare(b, undefined, { numeric: true });
  }

  function save(name, parts, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const plain = (cell) => String(value(cell)).replace(/\s+/g, " ");
  const text = (table) => [...table.rows].map((row) => [...row.cells].map(plain).join("\t")).join("\n") + "\n";

  function enhance(table) {
    const body = table.tBodies[0];
    if (!body || !table.tHead || body.rows.length < LONG) return;
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const bar = document.createElement("div");
    bar.className = "tools";
    const find = Object.assign(document.createElement("input"), { type: "search", placeholder: "filter rows" });
    find.setAttribute("aria-label", "filter rows");
    const count = document.createElement("span");
    count.className = "quiet";
    const say = () => {
      const n = rows.filter((row) => !row.hidden).length;
      count.textContent = n === rows.length ? `${n} rows` : `${n} of ${rows.length} rows`;
    };
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const told = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => told.includes(word));
      }
      say();
    });
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "save as text" });
    button.onclick = () => save("table.tsv", [text(table)], "text/tab-separated-values");
    bar.append(find, count, button);
    (table.closest(".scroll") || table).before(bar);
    say();
    heads.forEach((head, column) => {
      const press = Object.assign(document.createElement("button"), { type: "button", className: "sort", textContent: head.textContent });
      press.onclick = () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
        rows.sort((a, b) => down * compare(value(a.cells[column]), value(b.cells[column])));
        body.append(...rows);
      };
      head.replaceChildren(press);
    });
  }

  return { compare, enhance, save, text };
})();
if (typeof module === "object") module.exports = tables;
