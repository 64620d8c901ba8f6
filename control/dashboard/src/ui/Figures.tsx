// A device's own figures, from its newest metrics record: processor, memory, disk, network.
import { useQuery } from "@tanstack/react-query";
import * as read from "../api/queries";
import { figures, FULL } from "../lib/figures";
import { Card } from "./Card";
import { deviceAt, PageLink } from "./PageLink";
import { Time } from "./Time";

/** Nothing where a device has no metrics stream: not every device ships one. */
export function Figures({ device }: { device: string }) {
  const { data } = useQuery(read.deviceStreams(device));
  for (const { stream, latest, last } of data?.items ?? []) {
    const found = figures(latest);
    if (!found) continue;
    return (
      <Card title="Figures" aside={<span className="hf-kind">as of <Time at={last?.time} />, <PageLink to={deviceAt(device)} search={{ tab: "streams", stream }}>over time</PageLink></span>}>
        <dl className="hf-facts">
          {found.map(({ name, value, percent }) => (
            <div key={name} className="hf-figure">
              <dt>{name}</dt>
              <dd>
                {value}
                {percent !== undefined && <div className={`hf-meter ${percent >= FULL && name !== "Processor" ? "hf-bad-text" : ""}`} aria-hidden="true"><div style={{ width: `${Math.min(100, percent)}%` }} /></div>}
              </dd>
            </div>
          ))}
        </dl>
      </Card>
    );
  }
  return null;
}
