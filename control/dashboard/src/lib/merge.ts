// Three documents into one: what I changed since the base, put onto what somebody else made of it.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Merged {
  value: Json;
  /** Where both changed the same thing differently; mine stands in `value`. */
  conflicts: { path: (string | number)[]; theirs: Json | undefined }[];
}

const isObject = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function equal(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => equal(item, b[index]));
  if (isObject(a) && isObject(b)) {
    const [of, or] = [Object.keys(a), Object.keys(b)];
    return of.length === or.length && of.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
  }
  return false;
}

export function merge(base: Json, mine: Json, theirs: Json): Merged {
  const conflicts: Merged["conflicts"] = [];
  const value = step(base, mine, theirs, []);
  return { value: value ?? null, conflicts };

  function step(base: Json | undefined, mine: Json | undefined, theirs: Json | undefined, path: (string | number)[]): Json | undefined {
    if (equal(mine, theirs) || equal(base, theirs)) return mine;
    if (equal(base, mine)) return theirs;
    if (isObject(mine) && isObject(theirs)) {
      const before = isObject(base) ? base : {};
      const made: { [key: string]: Json } = {};
      for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
        const own = (object: { [key: string]: Json }) => (Object.hasOwn(object, key) ? object[key] : undefined);
        const value = step(own(before), own(mine), own(theirs), [...path, key]);
        if (value !== undefined) made[key] = value;
      }
      return made;
    }
    conflicts.push({ path, theirs });
    return mine;
  }
}
