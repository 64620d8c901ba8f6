// Small grammar: counts with their nouns, lists with their ends.
// See decision 0128.

/** `1 device`, `50,000 devices`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** `a, b, c and 4 more`. */
export function some(names: readonly string[], total = names.length, most = 5): string {
  const shown = names.slice(0, most);
  const more = total - shown.length;
  return more > 0 ? `${shown.join(", ")} and ${more.toLocaleString("en")} more` : shown.join(", ");
}

/** `512 bytes`, `1.4 MiB`, `2.0 GiB`. */
export function bytes(number: number): string {
  if (number < 1024) return count(number, "byte");
  const power = Math.min(Math.floor(Math.log2(number) / 10), 4);
  return `${(number / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB", "TiB"][power]}`;
}
