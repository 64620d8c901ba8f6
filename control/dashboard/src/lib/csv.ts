// Comma-separated values by RFC 4180, safe to open in a spreadsheet: a cell that would be read as a
// formula begins with an apostrophe, which spreadsheets take as "this is text".

/** Beginnings that make a spreadsheet calculate, or that it strips before it looks. */
const FORMULA = /^[=+\-@\t\r\n]/;

export function cell(value: string | number | null | undefined): string {
  if (typeof value === "number") return String(value);
  const given = value ?? "";
  const text = FORMULA.test(given.trimStart() === "" ? given : given.trimStart()) || FORMULA.test(given) ? `'${given}` : given;
  return /[",\r\n']/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** One line with its end. */
export function line(values: readonly (string | number | null | undefined)[]): string {
  return `${values.map(cell).join(",")}\r\n`;
}

/** Of labels that many keys have a column each; of more, all labels stand in one. */
export const MOST_KEYS = 200;

interface Labelled {
  values: readonly (string | number | null | undefined)[];
  labels: Readonly<Record<string, string>>;
}

/** A heading and the rows: the columns, then a column for each label's key, in the keys' order. */
export function sheet(columns: readonly string[], rows: readonly Labelled[]): string[] {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row.labels)))].sort();
  const each = keys.length <= MOST_KEYS;
  const heading = each ? keys.map((key) => `label ${key}`) : ["labels"];
  const of = (labels: Labelled["labels"]) => (each ? keys.map((key) => labels[key]) : [Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(" ")]);
  return [line([...columns, ...heading]), ...rows.map((row) => line([...row.values, ...of(row.labels)]))];
}
