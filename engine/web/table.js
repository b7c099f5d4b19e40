// Tables that are patched, not rebuilt: selection and scroll stay, and only changed cells are written. Text only, never HTML.

// columns: [{head, left?, grow?, cell(row) -> text | [text, class, title?]}]
export function showTable(table, columns, rows, empty) {
  if (!table.tHead) {
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column.head;
      if (column.left) cell.className = "left";
      head.append(cell);
    }
    table.createTBody();
  }
  const body = table.tBodies[0];
  table.tHead.hidden = rows.length === 0;
  if (rows.length === 0) {
    if (body.rows.length !== 1 || !body.rows[0].cells[0].classList.contains("none")) {
      body.replaceChildren();
      const cell = body.insertRow().insertCell();
      cell.className = "none";
      cell.colSpan = columns.length;
    }
    setText(body.rows[0].cells[0], empty);
    return;
  }
  if (body.rows[0]?.cells[0].classList.contains("none")) body.replaceChildren();
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, at) => {
    const line = body.rows[at] ?? body.insertRow();
    columns.forEach((column, index) => {
      const cell = line.cells[index] ?? line.insertCell();
      const told = column.cell(row);
      const [text, tone = "", title = ""] = Array.isArray(told) ? told : [told];
      setText(cell, text ?? "");
      const name = `${column.left ? "left " : ""}${column.grow ? "grow " : ""}${tone}`.trim();
      if (cell.className !== name) cell.className = name;
      if (cell.title !== title) cell.title = title;
    });
  });
}

export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function make(name, className, text, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}
