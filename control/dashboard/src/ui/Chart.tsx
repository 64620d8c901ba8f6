// Lines over time. Loaded when the first one is shown: uPlot is not in the first visit.
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { aligned, type Line } from "../lib/records";
import { moment } from "../lib/time";

/** A stretch of time that stands out, in seconds since 1970. */
export interface Shade {
  from: number;
  to: number;
}

interface Props {
  lines: readonly Line[];
  /** What it shows, for who cannot see it. */
  label: string;
  shades?: readonly Shade[];
  /** The time that is shown, in seconds since 1970; otherwise what the lines have. */
  from?: number | undefined;
  to?: number | undefined;
  high?: number;
}

const COLOURS = ["--hf-move", "--hf-good", "--hf-warn", "--hf-bad", "--hf-idle"];
/** Dashes tell lines apart without colour, and beyond the colours. */
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const NONE: readonly Shade[] = [];

export default function Chart({ lines, label, shades = NONE, from, to, high = 260 }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme("light");
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const grid = colour("--hf-line");
    const axis = { stroke: colour("--mantine-color-dimmed"), grid: { stroke: grid, width: 1 }, ticks: { stroke: grid } };
    const shaded = `${colour("--hf-bad")}33`;
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: high,
        legend: { show: lines.length > 1, live: false },
        ...(from !== undefined && to !== undefined ? { scales: { x: { range: [from, to] as [number, number] } } } : {}),
        axes: [
          { ...axis, space: 110, values: (_chart, splits) => splits.map((at) => moment(at, splits)) },
          { ...axis, size: 64 },
          ...(lines.some(({ right }) => right) ? [{ ...axis, size: 64, side: 1 as const, scale: "right", grid: { show: false } }] : []),
        ],
        series: [
          {},
          ...lines.map(({ label: name, right }, index): uPlot.Series => ({
            label: right ? `${name} (right)` : name,
            ...(right ? { scale: "right" } : {}),
            stroke: colour(COLOURS[index % COLOURS.length] ?? ""),
            dash: DASHES[Math.floor(index / COLOURS.length) % DASHES.length] ?? [],
            width: 1.5,
            spanGaps: false,
            points: { show: lines.every(({ points }) => points.length < 40), size: 4 },
          })),
        ],
        hooks: {
          drawClear: [
            (chart) => {
              const { ctx, bbox } = chart;
              ctx.save();
              ctx.fillStyle = shaded;
              for (const { from, to } of shades) {
                const left = Math.max(chart.valToPos(from, "x", true), bbox.left);
                const right = Math.min(Math.max(chart.valToPos(to, "x", true), left + 2), bbox.left + bbox.width);
                if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
              }
              ctx.restore();
            },
          ],
        },
      },
      aligned(lines) as uPlot.AlignedData,
      element,
    );
    const sizes = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: high }));
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      chart.destroy();
    };
  }, [lines, shades, from, to, high, scheme]);
  return <div ref={place} role="img" aria-label={label} />;
}
