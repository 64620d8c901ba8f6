// Names of images, as documents and the API write them, and which containers a workload has.

export interface Reference {
  name: string;
  tag?: string;
  digest?: string;
}

/** `NAME[:TAG][@DIGEST]` in its parts. The port of a registry is no tag. */
export function referenceOf(text: string): Reference {
  const [before = "", digest] = text.split("@", 2);
  const colon = before.lastIndexOf(":");
  const hasTag = colon > before.lastIndexOf("/");
  return { name: hasTag ? before.slice(0, colon) : before, ...(hasTag ? { tag: before.slice(colon + 1) } : {}), ...(digest ? { digest } : {}) };
}

/** The first twelve digits of a digest, which tell images apart. */
export const short = (digest: string): string => digest.replace(/^sha256:/, "").slice(0, 12);

/** Where an image is looked at; without `which`, the newest of its name. */
export function imageAt(name: string, which?: string): { to: string; search: Record<string, string> } {
  return { to: `/images/${encodeURIComponent(name)}`, search: which ? { image: which } : {} };
}

/** The same for a reference, as documents and shared layers have it. */
export function placeOfImage(text: string): { to: string; search: Record<string, string> } {
  const { name, tag, digest } = referenceOf(text);
  return imageAt(name, digest ?? tag);
}

interface Held {
  name: string;
  digest: string;
  tags: readonly string[];
  pushedAt: string;
}

/** What people call an image: `shop/till:1.4`, or without a tag `shop/till@sha256:…`. */
export const nameOf = ({ name, digest, tags }: Held): string => (tags[0] ? `${name}:${tags[0]}` : `${name}@${digest}`);

/** The images of a repository, the newest first. */
export function ofRepository<T extends Held>(all: readonly T[], name: string): T[] {
  return all.filter((one) => one.name === name).sort(newest);
}

function newest(a: Held, b: Held): number {
  return Date.parse(b.pushedAt) - Date.parse(a.pushedAt) || (a.digest < b.digest ? -1 : 1);
}

/** All of them by name, in it the newest first, of which the name or a tag has a text. */
export function found<T extends Held>(all: readonly T[], text: string): T[] {
  const wanted = text.trim().toLowerCase();
  const has = (one: Held) => one.name.includes(wanted) || one.digest.includes(wanted) || one.tags.some((tag) => `${one.name}:${tag}`.toLowerCase().includes(wanted));
  return all.filter(has).sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : newest(a, b)));
}

/** Of the images of a repository the one that an address means, by digest or tag; without a word the
 * newest. Undefined: there is none (any more). */
export function chosen<T extends Held>(held: readonly T[], which: string | undefined): T | undefined {
  if (!which) return held[0];
  return held.find(({ digest }) => digest === which) ?? held.find(({ tags }) => tags.includes(which));
}

/** Names of images to choose from while one types, the newest of each repository first. */
export function suggestions(all: readonly Held[]): string[] {
  return found(all, "").flatMap(({ name, tags }) => tags.map((tag) => `${name}:${tag}`));
}

/** Whether the name of an image stands at this place of a workload's document. */
export function isImageAt(path: readonly (string | number)[]): boolean {
  return /^spec\/run\/(container|group\/containers\/\d+)\/image$/.test(path.join("/"));
}

export interface ContainerOf {
  /** Within its group; absent: it is the only one. */
  name?: string;
  image: string;
  /** What is waited for before it starts: `db`, `db (healthy)`. */
  after: string[];
}

const object = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {});
const text = (value: unknown): string => (typeof value === "string" ? value : "");

function afterOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.map((one: unknown) => (typeof one === "string" ? one : `${text(object(one).name)}${object(one).until ? ` (${text(object(one).until)})` : ""}`));
}

/** The containers of a workload's specification, in the order in which they stand there. */
export function containersOf(spec: unknown): ContainerOf[] {
  const run = object(object(spec).run);
  if (run.container !== undefined) return [{ image: text(object(run.container).image), after: [] }];
  const members = object(run.group).containers;
  if (!Array.isArray(members)) return [];
  return members.map((member: unknown) => ({ name: text(object(member).name), image: text(object(member).image), after: afterOf(object(member).after) }));
}

/** Platforms as somebody types them: `linux/arm64, linux/arm/v7`. */
export const platformsOf = (typed: string): string[] => typed.split(/[,\s]+/).filter(Boolean);

/** What of an image's bytes other images have, too. */
export const sharedOf = ({ size, ownSize }: { size: number; ownSize: number }): number => Math.max(0, size - ownSize);
