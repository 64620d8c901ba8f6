// Lines over time. Loaded when the first one is shown: uPlot is not in the first visit.
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { aligned, type Line } from "../lib/records";
import { moment, second } from "../lib/time";

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
  /** The reader drew over a stretch of time, in seconds since 1970. Absent: there is nothing to draw. */
  chosen?: ((from: number, to: number) => void) | undefined;
}

/** A stretch narrower than this is a click, in pixels. */
const CLICK = 6;
const number = (value: number | null | undefined) => (value === null || value === undefined ? "–" : Number(value.toPrecision(8)).toLocaleString("en", { maximumFractionDigits: 6 }));

const COLOURS = ["--hf-move", "--hf-good", "--hf-warn", "--hf-bad", "--hf-idle"];
/** Dashes tell lines apart without colour, and beyond the colours. */
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
const NONE: readonly Shade[] = [];

export default function Chart({ lines, label, shades = NONE, from, to, high = 260, chosen }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const tell = useRef(chosen);
  useEffect(() => {
    tell.current = chosen;
  }, [chosen]);
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
        // It says what is under the pointer.
        legend: { show: true, live: true },
        cursor: { drag: { x: tell.current !== undefined, y: false, setScale: false } },
        ...(from !== undefined && to !== undefined ? { scales: { x: { range: [from, to] as [number, number] } } } : {}),
        axes: [
          { ...axis, space: 110, values: (_chart, splits) => splits.map((at) => moment(at, splits)) },
          { ...axis, size: 64 },
          ...(lines.some(({ right }) => right) ? [{ ...axis, size: 64, side: 1 as const, scale: "right", grid: { show: false } }] : []),
        ],
        series: [
          { label: "Time", value: (_chart, at: number | null) => (at === null ? "–" : second(at)) },
          ...lines.map(({ label: name, right }, index): uPlot.Series => ({
            value: (_chart, value: number | null) => number(value),
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
          setSelect: [
            (chart) => {
              const { left, width } = chart.select;
              if (width < CLICK) return;
              const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
              chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              tell.current?.(from, to);
            },
          ],
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
