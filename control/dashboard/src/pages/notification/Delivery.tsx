// Whether a notification's receiver is reached.
import type { components } from "../../api/schema";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

export function Delivery({ of }: { of: components["schemas"]["Delivery"] | null | undefined }) {
  if (!of) return null;
  if (of.failingSince) {
    return (
      <span className="hf-stack hf-tight">
        <span className="hf-row hf-tight"><State tone="bad">not reached</State> <span className="hf-kind">since <Time at={of.failingSince} /></span></span>
        <span className="hf-kind">{of.lastError}</span>
      </span>
    );
  }
  return of.lastSuccess ? <State tone="good">reached</State> : <State tone="idle">nothing sent yet</State>;
}
