// Until when a device can go on alone, and what ends that.
import { useNow } from "./now";
import { State } from "./State";
import { Time } from "./Time";

export interface HorizonOf {
  until: number;
  cause: string;
  detail?: string;
}

/** Nearer than this it stands out, in seconds: as in the alert rules. */
const NEAR = 86_400;

const MEANS: Record<string, string> = {
  certificate: "its certificate expires; workloads keep running, and it is renewed when the device reaches the control plane",
  buffer: "records that cannot be shipped fill its buffer",
  disk: "its disk will be full",
  clock: "its clock cannot be relied on",
};

export function Horizon({ of }: { of: HorizonOf | undefined }) {
  const now = useNow();
  if (!of) return <p>The device has not reported for how long it can work without the control plane.</p>;
  const left = of.until - now / 1000;
  return (
    <div className="hf-stack hf-tight">
      <span className="hf-row">
        <State tone={left <= 0 ? "bad" : left < NEAR ? "warn" : "good"}>{left <= 0 ? "exceeded" : left < NEAR ? "less than a day" : "more than a day"}</State>
        <span>It can work without the control plane; the limit is reached <Time at={of.until * 1000} /></span>
      </span>
      <span>Limit: <strong>{of.cause}</strong>: {MEANS[of.cause] ?? of.cause}{of.detail ? ` (${of.detail})` : ""}.</span>
    </div>
  );
}
