// A time in words; the exact one, in the reader's zone, on hover.
import { exact, relative, span } from "../lib/time";
import { useNow } from "./now";

type Moment = string | number | null | undefined;

const millisOf = (at: string | number) => (typeof at === "number" ? at : Date.parse(at));

export function Time({ at, never = "never" }: { at: Moment; never?: string }) {
  const now = useNow();
  if (at === null || at === undefined) return <span>{never}</span>;
  const millis = millisOf(at);
  if (Number.isNaN(millis)) return <span>{String(at)}</span>;
  return (
    <time dateTime={new Date(millis).toISOString()} title={exact(millis)}>
      {relative(millis, Math.max(now, Date.now() - 5_000))}
    </time>
  );
}

/** How long something has been so: `for 9 min`, or in a narrow column `9 min`. */
export function Since({ at, short = false }: { at: Moment; short?: boolean }) {
  const now = useNow();
  if (at === null || at === undefined) return null;
  const millis = millisOf(at);
  if (Number.isNaN(millis)) return null;
  return (
    <time className="hf-kind hf-since" dateTime={new Date(millis).toISOString()} title={`since ${exact(millis)}`}>
      {short ? "" : "for "}{span((Math.max(now, Date.now() - 5_000) - millis) / 1000)}
    </time>
  );
}

/**
 * When a device was last heard, by any packet. Amber when the control plane says that its next
 * packet is overdue: it may hang, or its link be dead while nobody has noticed. The page's own clock
 * and what it read some minutes ago decide nothing of that.
 */
export function Heard({ at, late = false }: { at: Moment; late?: boolean | undefined }) {
  if (!late) return <Time at={at} />;
  return (
    <span className="hf-late">
      <Time at={at} />
      <span className="hf-late-sign" title="Later than its next packet was due: it may hang, or its link may be dead"> late</span>
    </span>
  );
}
