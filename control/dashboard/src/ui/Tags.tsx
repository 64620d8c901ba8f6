// Tags of an image, the first few and how many more there are; each a way to that image.
import { imageAt } from "../lib/images";
import { PageLink } from "./PageLink";

/** Tags that stand in a row of a table. */
const FIRST = 4;

export function Tags({ name, tags, first = FIRST }: { name: string; tags: readonly string[]; first?: number }) {
  if (tags.length === 0) return <span className="hf-kind">no tag</span>;
  return (
    <span className="hf-row hf-tight">
      {tags.slice(0, first).map((tag) => <PageLink key={tag} className="hf-label" {...imageAt(name, tag)} title={`${name}:${tag}`}>{tag}</PageLink>)}
      {tags.length > first && <span className="hf-kind" title={tags.slice(first).join(", ")}>+{tags.length - first}</span>}
    </span>
  );
}
