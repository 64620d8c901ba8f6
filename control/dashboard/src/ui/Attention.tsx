// One thing that needs a person, as the fleet's summary has it: how urgent, what, since when, on which
// devices, what of it is muted already, and the buttons that acknowledge or silence it.
import type { components } from "../api/schema";
import { isMuted, matcherOf, mutedWords } from "../lib/alarms";
import { count, some } from "../lib/words";
import { later } from "./later";
import { PageLink } from "./PageLink";
import { State, type Tone } from "./State";
import { Since } from "./Time";
import { Words } from "./Words";

// With its dialogs: not needed before something is wrong.
const MuteButtons = later(async () => ({ default: (await import("./Mute")).MuteButtons }), "buttons");

type Item = components["schemas"]["AttentionItem"];

const SEVERITIES: Record<string, Tone> = { critical: "bad", warning: "warn", info: "move" };

/** Kinds that are about no alarm of a device. */
const OWN: Record<string, string> = { notification: "/notifications" };

/** The server names the API's parameters; the table's address has the same, but for the selector. */
function toSearch(query: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).map(([key, value]) => [key === "labelSelector" ? "labels" : key, String(value)]));
}

function target(item: Item) {
  const own = OWN[item.kind];
  if (own) return { to: item.code ? `${own}/${encodeURIComponent(item.code)}` : own, search: {} };
  return { to: item.kind === "waiting" ? "/enrolment" : "/devices", search: toSearch(item.query) };
}

export function Attention({ item }: { item: Item }) {
  const muted = mutedWords(item);
  const all = isMuted(item);
  return (
    <div className="hf-stack hf-tight">
      <span className="hf-row hf-attention">
        <State tone={all ? "idle" : (SEVERITIES[item.severity] ?? "idle")}>{item.severity}</State>
        <PageLink {...target(item)}><Words>{item.message}</Words></PageLink>
        {item.since && <Since at={item.since} />}
      </span>
      <span className="hf-row hf-spread">
        <span className="hf-kind">
          {item.count > 0 && <>{count(item.count, "device")}{item.unknown > 0 && `, ${item.unknown === item.count ? "" : `${item.unknown.toLocaleString("en")} of them `}when last heard`}: {some(item.devices, item.count)}</>}
          {muted && <> · <PageLink to="/notifications" search={{ tab: "silences" }}>{muted}</PageLink></>}
        </span>
        {!(item.kind in OWN) && !all && <MuteButtons of={matcherOf(item)} about={item.message} />}
      </span>
    </div>
  );
}
