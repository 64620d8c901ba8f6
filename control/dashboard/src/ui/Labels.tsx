// Labels, each a way to all devices that have it: the first few, and the rest on demand. What they
// say is text, whatever it is.
import { useState } from "react";
import { PageLink } from "./PageLink";

/** Labels before one asks for more. */
const FIRST = 8;

export function Labels({ of, to, first = FIRST }: { of: Record<string, string> | undefined; to?: string; first?: number }) {
  const [all, setAll] = useState(false);
  const entries = Object.entries(of ?? {});
  if (entries.length === 0) return <span>no labels</span>;
  const shown = all ? entries : entries.slice(0, first);
  const more = entries.length - first;
  return (
    <span className="hf-row hf-tight hf-labels">
      {shown.map(([key, value]) => {
        const text = value === "" ? key : `${key}=${value}`;
        return to ? (
          <PageLink key={key} className="hf-label" to={to} search={{ labels: text }} title={text}>{text}</PageLink>
        ) : (
          <span key={key} className="hf-label" title={text}>{text}</span>
        );
      })}
      {more > 0 && (
        <button type="button" className="hf-label" aria-expanded={all} aria-label={all ? "Show fewer labels" : `Show ${more} more labels`} onClick={() => setAll(!all)}>{all ? "fewer" : `+${more}`}</button>
      )}
    </span>
  );
}
