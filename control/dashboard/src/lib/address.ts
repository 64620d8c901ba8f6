// Parameters of an address that may be old or mistyped. A value that is not known is left out, and
// said: an empty table would be taken for the truth.

/** A parameter that was left out. */
export interface Ignored {
  key: string;
  value: string;
}

/** What a parameter may be: one of some words, or whatever a check lets pass. */
export type Allowed = readonly string[] | ((value: string) => boolean);

/** The parameters that are known and may be so, and those that were left out. Parameters that are not
 * in `allowed` pass as they are. */
export function known<T extends Record<string, string | undefined>>(search: T, allowed: Record<string, Allowed>): { search: T; ignored: Ignored[] } {
  const ignored: Ignored[] = [];
  const kept = Object.entries(search).filter(([key, value]) => {
    const may = allowed[key];
    if (value === undefined || value === "" || !may) return true;
    const fits = typeof may === "function" ? may(value) : may.includes(value);
    if (!fits) ignored.push({ key, value });
    return fits;
  });
  return { search: Object.fromEntries(kept) as T, ignored };
}

/** What was left out, in words; nothing when nothing was. */
export function said(ignored: readonly Ignored[]): string {
  if (ignored.length === 0) return "";
  const what = ignored.map(({ key, value }) => `${key}=${value}`).join(", ");
  return `The address asks for ${what}, which is not known here: it is left out, and more is shown than was meant.`;
}
