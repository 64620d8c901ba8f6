// Labels, each a way to all devices that have it. What they say is text, whatever it is.
import { PageLink } from "./PageLink";

export function Labels({ of, to }: { of: Record<string, string> | undefined; to?: string }) {
  const entries = Object.entries(of ?? {});
  if (entries.length === 0) return <span>none</span>;
  return (
    <span className="hf-row hf-tight">
      {entries.map(([key, value]) =>
        to ? (
          <PageLink key={key} className="hf-label" to={to} search={{ labels: value === "" ? key : `${key}=${value}` }} title={`${key}=${value}`}>
            {key}={value}
          </PageLink>
        ) : (
          <span key={key} className="hf-label" title={`${key}=${value}`}>{key}={value}</span>
        ),
      )}
    </span>
  );
}
