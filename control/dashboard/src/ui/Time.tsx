// A time in words; the exact one, in the reader's zone, on hover.
import { exact, relative } from "../lib/time";
import { useNow } from "./now";

export function Time({ at, never = "never" }: { at: string | number | null | undefined; never?: string }) {
  const now = useNow();
  if (at === null || at === undefined) return <span>{never}</span>;
  const millis = typeof at === "number" ? at : Date.parse(at);
  if (Number.isNaN(millis)) return <span>{String(at)}</span>;
  return (
    <time dateTime={new Date(millis).toISOString()} title={exact(millis)}>
      {relative(millis, Math.max(now, Date.now() - 5_000))}
    </time>
  );
}
