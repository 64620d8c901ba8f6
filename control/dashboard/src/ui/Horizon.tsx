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
  certificate: "its certificate ends; workloads go on, and it is renewed when it reaches the control plane",
  buffer: "records that cannot be shipped fill its buffer",
  disk: "its disk will be full",
  clock: "its clock cannot be relied on",
};

export function Horizon({ of }: { of: HorizonOf | undefined }) {
  const now = useNow();
  if (!of) return <p>The device has not said how long it can go on alone.</p>;
  const left = of.until - now / 1000;
  return (
    <div className="hf-stack hf-tight">
      <span className="hf-row">
        <State tone={left <= 0 ? "bad" : left < NEAR ? "warn" : "good"}>{left <= 0 ? "passed" : left < NEAR ? "near" : "far"}</State>
        <span>It can go on alone; that ends <Time at={of.until * 1000} /></span>
      </span>
      <span>Then <strong>{of.cause}</strong>: {MEANS[of.cause] ?? of.cause}{of.detail ? ` (${of.detail})` : ""}.</span>
    </div>
  );
}
