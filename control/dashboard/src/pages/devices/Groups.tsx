// Groups of devices by a label: what each has in it, by state, and whether it is open.
import type { DeviceFilter } from "../../api/queries";
import { and } from "../../lib/selector";
import { count } from "../../lib/words";
import { State, type Tone } from "../../ui/State";

/** As the control plane counts them. */
export interface Counted {
  value?: string | null | undefined;
  devices: number;
  healthy: number;
  failing: number;
  problem: number;
  progressing: number;
  unknown: number;
  neverSeen: number;
  pending: number;
  revoked: number;
}

export interface Group extends Counted {
  /** The name in the address: the value, or `!` for the devices without the label. */
  key: string;
  label: string;
  open: boolean;
  filter: DeviceFilter;
}

/** Each group with what finds its devices among those that the filter finds. */
export function groupsOf(label: string, counted: readonly Counted[], filter: DeviceFilter, opened: ReadonlySet<string>): Group[] {
  return counted.map((one) => {
    const key = one.value == null ? "!" : one.value;
    const selector = one.value == null ? `!${label}` : `${label}=${one.value}`;
    return { ...one, key, label, open: opened.has(key), filter: { ...filter, labelSelector: and(filter.labelSelector ?? "", selector) } };
  });
}

const PARTS: readonly (readonly [keyof Counted, Tone, string])[] = [
  ["failing", "bad", "failing"],
  ["problem", "bad", "with a problem"],
  ["progressing", "move", "progressing"],
  ["unknown", "unknown", "unknown"],
  ["neverSeen", "unknown", "never seen"],
  ["pending", "warn", "pending"],
  ["revoked", "idle", "revoked"],
  ["healthy", "good", "healthy"],
];

export function GroupHead({ of, index, width, setOpen }: { of: Group; index: number; width: number; setOpen: (group: Group, open: boolean) => void }) {
  const name = of.key === "!" ? `no ${of.label}` : `${of.label}=${of.key}`;
  return (
    <div role="row" aria-rowindex={index + 2} className="hf-vgroup">
      <span role="cell" aria-colspan={width} className="hf-row hf-tight">
        <button type="button" className="hf-sort" aria-expanded={of.open} onClick={() => setOpen(of, !of.open)} title={name}>
          <span aria-hidden="true">{of.open ? "▾" : "▸"}</span> {name}
        </button>
        <span className="hf-kind">{count(of.devices, "device")}</span>
        {PARTS.map(([part, tone, word]) => {
          const number = Number(of[part]);
          return number > 0 && <State key={part} tone={tone}>{number.toLocaleString("en")} {word}</State>;
        })}
      </span>
    </div>
  );
}
