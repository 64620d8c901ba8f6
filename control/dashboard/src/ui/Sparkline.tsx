// An hour of a stream's number in the height of a line of text.
import { useQuery } from "@tanstack/react-query";
import * as read from "../api/queries";
import { polyline } from "../lib/records";

const WIDE = 140;
const HIGH = 26;
/** A quarter of a minute each. */
const POINTS = 240;

export function Sparkline({ device, stream, field }: { device: string; stream: string; field: string }) {
  const { data } = useQuery(read.series(device, stream, field, "1h", POINTS));
  const points = (data?.points ?? []).map(({ time, mean }) => [Date.parse(time), mean] as const);
  const what = `${field || "value"} of ${stream} over the last hour`;
  if (points.length < 2) return <span className="hf-kind">{data ? "nothing to draw" : ""}</span>;
  const all = points.map(([, value]) => value);
  const round = (value: number) => Number(value.toPrecision(4)).toLocaleString("en");
  return (
    <svg width={WIDE} height={HIGH} viewBox={`-1 -2 ${WIDE + 2} ${HIGH + 4}`} role="img" aria-label={`${what}: from ${round(Math.min(...all))} to ${round(Math.max(...all))}`}>
      <polyline points={polyline(points, WIDE, HIGH)} fill="none" stroke="var(--hf-move)" strokeWidth={1.5} strokeLinejoin="round" />
    </svg>
  );
}
