// A table whose rows and cells stay as long as what they say does, so that focus and selection outlive each look.

import { h } from "/assets/dom.js";

export class Table {
  #rows = new Map();

  // `columns`: `title`, and `of`, which gives an item's children. `key` names an item. `empty` is said where there is none.
  constructor(label, columns, key, empty) {
    this.columns = columns;
    this.key = key;
    this.body = h("tbody", { role: "rowgroup" });
    // The roles are said, since a narrow page makes blocks of rows and cells.
    const head = h("tr", { role: "row" }, ...columns.map(({ title }) => h("th", { scope: "col", role: "columnheader" }, title)));
    this.table = h("table", { "aria-label": label, role: "table" }, h("thead", { role: "rowgroup" }, head), this.body);
    this.none = h("p", { class: "meta none" }, empty);
    this.element = h("div", { class: "sheet" }, this.table, this.none);
    this.show([]);
  }

  show(items) {
    const wanted = new Map(items.map((item) => [this.key(item), item]));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let before = null;
    for (const [key, item] of wanted) {
      const row = this.#rows.get(key) ?? h("tr", { role: "row" });
      this.#rows.set(key, row);
      this.#fill(row, item);
      const place = before ? before.nextElementSibling : this.body.firstElementChild;
      if (place !== row) this.body.insertBefore(row, place);
      before = row;
    }
    this.table.hidden = !items.length;
    this.none.hidden = items.length > 0;
  }

  #fill(row, item) {
    this.columns.forEach(({ title, of }, at) => {
      const first = at === 0;
      const cell = h(first ? "th" : "td", { role: first ? "rowheader" : "cell", ...(first ? { scope: "row" } : {}), "data-title": title }, ...of(item));
      const known = row.children[at];
      if (!known) row.append(cell);
      else if (!known.isEqualNode(cell)) known.replaceWith(cell);
    });
  }
}
