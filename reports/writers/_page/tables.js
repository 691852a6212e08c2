// Tables: sorted by the numbers behind the cells, filtered by text and by the names that are shown.
const MISSING_LAST = (sign) => (a, b) => (Number.isNaN(a) ? 1 : 0) - (Number.isNaN(b) ? 1 : 0) || sign * (a - b) || 0;
const SMALL = 25;

function makeTable(DataTable, id) {
  const spec = data.tables[id];
  const element = document.getElementById(id);
  const text = DataTable.render.text().display;
  const rows = spec.rows?.length ?? element.tBodies[0].rows.length;
  const columns = spec.numeric.map((numeric, index) => ({
    type: numeric ? "value" : "string",
    ...(spec.right?.[index] ? { className: "number" } : {}),
    // A long table's cells are texts, or pairs of text and number.
    ...(spec.rows ? { render: (cell, use) => {
      const [said, value] = numeric ? cell : [cell, cell];
      return use === "display" || use === "filter" ? text(said) : value; // both are read as HTML
    } } : {}),
  }));
  const table = new DataTable(element, {
    ...(spec.rows ? { data: spec.rows, deferRender: true } : {}),
    columns,
    order: [],
    autoWidth: false,
    paging: rows > SMALL,
    pageLength: SMALL,
    lengthMenu: [SMALL, 100, { label: "all", value: -1 }],
    layout: {
      topStart: "search",
      topEnd: rows > SMALL ? "pageLength" : null,
      bottomStart: rows > SMALL ? "info" : null,
      bottomEnd: rows > SMALL ? "paging" : null,
    },
    language: {
      search: "Filter rows", lengthMenu: "_MENU_ rows a page", info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "",
      infoFiltered: "(_MAX_ in all)", emptyTable: "No rows", zeroRecords: "No row is left by filter and switches",
    },
  });
  const scroll = element.parentElement;
  Object.assign(scroll, { tabIndex: 0, role: "region", ariaLabel: "Table, scrolls sideways" });
  table.search.fixed("names", (_text, _cells, row) =>
    Object.entries(spec.facets).every(([facet, names]) => isShown(facet, names[row])));
  return table;
}

async function makeTables() {
  const names = Object.keys(data.tables);
  if (names.length === 0) return [];
  const { default: DataTable } = await import("datatables");
  DataTable.type("value", {
    order: { pre: (value) => (value === "" ? NaN : Number(value)), asc: MISSING_LAST(1), desc: MISSING_LAST(-1) },
  });
  return names.map((id) => makeTable(DataTable, id));
}
