// A device's streams in a table: found by name, those that need a look first.

export interface Listed {
  stream: string;
  missing: number;
  reported?: unknown;
}

/** Streams of one page of the table. */
export const PAGE = 25;

export const problemOf = ({ reported }: Pick<Listed, "reported">): string => {
  const said = (reported as { problem?: unknown } | null | undefined)?.problem;
  return typeof said === "string" ? said : "";
};

export const waitingOf = ({ reported }: Pick<Listed, "reported">): number | undefined => {
  const said = (reported as { waiting?: unknown } | null | undefined)?.waiting;
  return typeof said === "number" ? said : undefined;
};

/** Those with this text in their names: first those with a problem, then those with losses, then by name. */
export function sorted<T extends Listed>(items: readonly T[], q: string): T[] {
  const text = q.trim().toLowerCase();
  const rank = (item: T) => (problemOf(item) !== "" ? 0 : item.missing > 0 ? 1 : 2);
  return items.filter(({ stream }) => stream.toLowerCase().includes(text)).sort((a, b) => rank(a) - rank(b) || (a.stream < b.stream ? -1 : 1));
}
