// Saved views of the device table: a name for what its address holds (filters, columns, order,
// grouping). They are kept in this browser; the address alone is what one sends to a colleague.

export interface View {
  name: string;
  /** The address's parameters, in the order of their names: `connection=offline&sort=-lastSeen`. */
  address: string;
}

/** More would not be found again in a menu. */
export const MOST = 50;
/** Characters of a name. */
export const LONGEST = 60;

/** What of an address a view is: in one order, without what is empty. */
export function address(search: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(search).filter((entry): entry is [string, string] => Boolean(entry[1]));
  return new URLSearchParams(given.sort(([a], [b]) => (a < b ? -1 : 1))).toString();
}

/** The address's parameters again. */
export function search(of: View): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(of.address));
}

/** Reads what was kept; whatever is no view is left out. */
export function read(text: string | null): View[] {
  try {
    const kept: unknown = JSON.parse(text ?? "[]");
    if (!Array.isArray(kept)) return [];
    const isView = (one: unknown): one is View => typeof one === "object" && one !== null && typeof (one as View).name === "string" && typeof (one as View).address === "string";
    return kept.filter(isView).map(({ name, address }) => ({ name, address })).slice(0, MOST);
  } catch {
    return [];
  }
}

/** Why a name cannot be given, in words. */
export function fault(views: readonly View[], name: string, except?: string): string | undefined {
  const text = name.trim();
  if (text === "") return "A view needs a name";
  if (text.length > LONGEST) return `At most ${LONGEST} characters`;
  if (text !== except && views.some((view) => view.name === text)) return `There is a view ${text} already`;
  if (except === undefined && views.length >= MOST) return `${MOST} views are kept at most: delete one first`;
  return undefined;
}

/** Adds or replaces a view, in the order of names. */
export function put(views: readonly View[], view: View): View[] {
  return [...views.filter((one) => one.name !== view.name), view].sort((a, b) => a.name.localeCompare(b.name));
}

export function rename(views: readonly View[], from: string, to: string): View[] {
  const found = views.find((view) => view.name === from);
  return found ? put(views.filter((view) => view !== found), { ...found, name: to.trim() }) : [...views];
}

export function remove(views: readonly View[], name: string): View[] {
  return views.filter((view) => view.name !== name);
}
