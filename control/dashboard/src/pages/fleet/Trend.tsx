// Whether it gets better or worse: devices online, unhealthy and offline over the last day. The
// control plane counts them while it runs; before its start, and while it stood still, there is no line.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { change, pieces, type Point } from "../../lib/trend";
import { Card } from "../../ui/Card";
import { Failed } from "../../ui/Notice";
import { useNow } from "../../ui/now";
import { Time } from "../../ui/Time";

const DAY = 86_400_000;
const HOUR = 3_600_000;
const WIDE = 240;
const HIGH = 34;

interface Counts {
  total: number;
  online: number;
  offline: number;
  neverSeen: number;
  unhealthy: number;
}

type Line = { word: string; colour: string; of: (counts: Omit<Counts, "total">) => number };

const LINES: readonly Line[] = [
  { word: "online", colour: "var(--hf-good)", of: ({ online }) => online },
  { word: "unhealthy", colour: "var(--hf-bad)", of: ({ unhealthy }) => unhealthy },
  { word: "offline or never seen", colour: "var(--hf-idle)", of: ({ offline, neverSeen }) => offline + neverSeen },
];

export function Trend({ now: counts }: { now: Counts }) {
  const { data, error } = useQuery(read.trend());
  const now = useNow();
  const every = (data?.everySeconds ?? 300) * 1000;
  const began = data ? Date.parse(data.since) : undefined;
  return (
    <Card title="Last 24 hours">
      {!data && error && <Failed error={error} what="The counts could not be read" />}
      {data && LINES.map((line) => {
        const points = [...data.items.map((item): Point => ({ at: Date.parse(item.at), value: line.of(item) })), { at: now, value: line.of(counts) }];
        return <One key={line.word} line={line} points={points} every={every} now={now} most={Math.max(counts.total, ...points.map(({ value }) => value))} />;
      })}
      {began !== undefined && now - began < DAY && <p className="hf-kind">Counted since the control plane started, <Time at={began} />; what was before is not known.</p>}
    </Card>
  );
}

function One({ line: { word, colour }, points, every, now, most }: { line: Line; points: Point[]; every: number; now: number; most: number }) {
  const last = points.at(-1);
  const moved = last && change(points.slice(0, -1), last, HOUR);
  // The time of the point that it is held against: the hour is not over everywhere.
  const against = moved && (now - moved.since < HOUR * 1.2 && now - moved.since > HOUR * 0.8 ? "in the last hour" : undefined);
  return (
    <div className="hf-trend">
      <span><b>{last?.value.toLocaleString("en")}</b> {word}</span>
      <span className="hf-kind">{moved ? <>{moved.by === 0 ? "no change" : `${moved.by > 0 ? "+" : "−"}${Math.abs(moved.by).toLocaleString("en")}`} {against ?? <>since <Time at={moved.since} /></>}</> : "no earlier count"}</span>
      <svg viewBox={`0 -2 ${WIDE} ${HIGH + 4}`} preserveAspectRatio="none" role="img" aria-label={`${word} over the last 24 hours: from ${Math.min(...points.map(({ value }) => value)).toLocaleString("en")} to ${Math.max(...points.map(({ value }) => value)).toLocaleString("en")}`}>
        <line x1="0" x2={WIDE} y1={HIGH} y2={HIGH} stroke="var(--hf-line)" vectorEffect="non-scaling-stroke" />
        {pieces(points, every, now - DAY, now, most, WIDE, HIGH).map((piece, index) => <polyline key={index} points={piece} fill="none" stroke={colour} strokeWidth={2} vectorEffect="non-scaling-stroke" strokeLinejoin="round" />)}
      </svg>
    </div>
  );
}
