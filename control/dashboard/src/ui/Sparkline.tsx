// An hour of a number in the height of a line of text.
import { minutes, polyline } from "../lib/records";

const WIDE = 140;
const HIGH = 26;

export function Sparkline({ of, what }: { of: readonly unknown[] | undefined; what: string }) {
  if (!of) return null;
  const points = minutes(of);
  if (points.length < 2) return <span className="hf-kind">too few to draw</span>;
  const all = points.map(([, value]) => value);
  const round = (value: number) => Number(value.toPrecision(4)).toLocaleString("en");
  return (
    <svg width={WIDE} height={HIGH} viewBox={`-1 -2 ${WIDE + 2} ${HIGH + 4}`} role="img" aria-label={`${what} over the last hour: from ${round(Math.min(...all))} to ${round(Math.max(...all))}`}>
      <polyline points={polyline(points, WIDE, HIGH)} fill="none" stroke="var(--hf-move)" strokeWidth={1.5} strokeLinejoin="round" />
    </svg>
  );
}
