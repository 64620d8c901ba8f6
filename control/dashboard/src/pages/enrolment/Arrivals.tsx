// The devices that a token let in, as they arrive: enrolled, approved, heard for the first time.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { components } from "../../api/schema";
import { clock } from "../../lib/time";
import { count } from "../../lib/words";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { State } from "../../ui/State";

type Use = components["schemas"]["TokenUse"];

/** Devices that are listed. */
const MOST = 10;

export function Arrivals({ use }: { use: Use }) {
  const left = use.uses - use.used;
  return (
    <div className="hf-stack hf-tight" role="status" aria-label="Arrivals">
      {use.devices.slice(0, MOST).map((device) => <Arrival key={device.name} of={device} />)}
      {use.devices.length > MOST && <span className="hf-kind">and {use.devices.length - MOST} before</span>}
      {use.state === "active" && left > 0 && <span className="hf-row"><State tone="move">waiting</State>for {use.used > 0 ? count(left, "more device") : count(left, "device")} to enrol</span>}
    </div>
  );
}

function Arrival({ of: { name, enrolledAt, uncountedLabels = [] } }: { of: Use["devices"][number] }) {
  const { data } = useQuery(read.device(name));
  const status = data?.status;
  const heard = status?.heardAt;
  return (
    <div className="hf-row">
      <span><PageLink to={deviceAt(name)}>{name}</PageLink> enrolled <Moment at={enrolledAt} />,</span>
      {heard ? <State tone="good">first report came</State>
        : status?.connection === "pending" ? <State tone="warn">waits for approval</State>
        : status?.connection === "revoked" ? <State tone="idle">revoked</State>
        : <State tone="move">waiting for its first report</State>}
      {heard && status?.connection === "online" && status.connectionSince && <span>online since <Moment at={status.connectionSince} /></span>}
      {uncountedLabels.length > 0 && <span className="hf-warn">Labels that it claimed and that do not count, for the token does not allow them: <span className="hf-mono">{uncountedLabels.join(", ")}</span></span>}
    </div>
  );
}

function Moment({ at }: { at: string }) {
  return <time dateTime={at} title={new Date(at).toLocaleString()}>{clock(Date.parse(at))}</time>;
}
