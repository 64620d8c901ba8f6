// What needs a person, the most severe first and then what began first; it stands still while it lasts.
import type { Fleet } from "../../api/types";
import { count, some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { PageLink } from "../../ui/PageLink";
import { State, type Tone } from "../../ui/State";
import { Since } from "../../ui/Time";
import { Words } from "../../ui/Words";

const SEVERITIES: Record<string, Tone> = { critical: "bad", warning: "warn", info: "move" };

export function Attention({ of: { attention, moreAttention, devices, settled, summary } }: { of: Fleet }) {
  return (
    <Card title="Needs attention">
      {attention.length === 0 ? (
        // Reassurance stands beside no red number.
        <p>{devices.total === 0 ? "Nothing yet." : settled ? `Nothing: ${summary}.` : `No alarm yet, and not all is well: ${summary}.`}</p>
      ) : (
        <ul className="hf-list">
          {attention.map((item) => (
            <li key={`${item.kind} ${item.code ?? ""} ${item.severity}`} className="hf-stack hf-tight">
              <span className="hf-row hf-attention">
                <State tone={SEVERITIES[item.severity] ?? "idle"}>{item.severity}</State>
                <PageLink to={item.kind === "waiting" ? "/enrolment" : "/devices"} search={toSearch(item.query)}><Words>{item.message}</Words></PageLink>
                {item.since && <Since at={item.since} />}
              </span>
              <span className="hf-kind">{count(item.count, "device")}{item.unknown > 0 && `, ${item.unknown === item.count ? "" : `${item.unknown.toLocaleString("en")} of them `}when last heard`}: {some(item.devices, item.count)}</span>
            </li>
          ))}
        </ul>
      )}
      {moreAttention > 0 && <p className="hf-kind">and {moreAttention.toLocaleString("en")} more, less urgent</p>}
    </Card>
  );
}

/** The server names the API's parameters; the table's address has the same, but for the selector. */
function toSearch(query: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).map(([key, value]) => [key === "labelSelector" ? "labels" : key, String(value)]));
}
