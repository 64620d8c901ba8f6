// The presence as a stepped line over time.
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { moment } from "../../lib/time";

interface Props {
  events: readonly { at: string; event: string }[];
  online: boolean;
}

const HIGH = 120;

export default function Presence({ events, online }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme("light");
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const [line, text, grid] = ["--hf-good", "--mantine-color-dimmed", "--hf-line"].map((name) => style.getPropertyValue(name).trim()) as [string, string, string];
    const points = [...events].reverse().map((event) => [Date.parse(event.at) / 1000, event.event === "connected" ? 1 : 0] as const);
    // Until now it is what it was last.
    points.push([Math.max(Date.now() / 1000, (points.at(-1)?.[0] ?? 0) + 1), online ? 1 : 0]);
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid } };
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: HIGH,
        legend: { show: false },
        cursor: { show: false },
        scales: { y: { range: [-0.1, 1.15] } },
        axes: [{ ...axis, space: 110, values: (_chart, splits) => splits.map((at) => moment(at, splits)) }, { ...axis, size: 64, splits: () => [0, 1], values: () => ["offline", "online"] }],
        series: [{}, { stroke: line, width: 2, fill: `${line}33`, paths: uPlot.paths.stepped?.({ align: 1 }) ?? null, points: { show: false } } as uPlot.Series],
      },
      [points.map(([at]) => at), points.map(([, up]) => up)],
      element,
    );
    const sizes = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HIGH }));
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      chart.destroy();
    };
  }, [events, online, scheme]);
  return <div ref={place} role="img" aria-label="Chart of when the device was online; the table below says the same" />;
}
