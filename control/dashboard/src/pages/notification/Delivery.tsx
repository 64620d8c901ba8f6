// Whether a notification's receiver is reached.
import type { components } from "../../api/schema";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

/** `brief`: without the reason, where that stands elsewhere on the page. */
export function Delivery({ of, brief = false }: { of: components["schemas"]["Delivery"] | null | undefined; brief?: boolean }) {
  if (!of) return null;
  if (of.failingSince && brief) return <State tone="bad">not reached</State>;
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
