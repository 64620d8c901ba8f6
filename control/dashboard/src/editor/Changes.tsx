// What an apply would change, from the dry run: devices by name, warnings, the difference.
import type { AppliedDocument } from "../api/types";
import { toYaml } from "../lib/document";
import { count, some } from "../lib/words";
import { Diff } from "../ui/Diff";
import { Notice } from "../ui/Notice";
import { deviceAt, PageLink } from "../ui/PageLink";
import { State, type Tone } from "../ui/State";

const TONES: Record<string, Tone> = { created: "good", changed: "move", unchanged: "idle" };
const ACTIONS: Record<string, string> = { created: "is created", changed: "changes", unchanged: "does not change" };

/** Of a notification: it changes nothing on devices. */
function Told({ of }: { of: AppliedDocument }) {
  return (
    <section className="hf-stack hf-tight" aria-label={`Changes of ${of.name}`}>
      <p className="hf-row">
        <strong>{of.name}</strong> <State tone={TONES[of.action] ?? "idle"}>{ACTIONS[of.action] ?? of.action}</State>
        <span className="hf-kind">alarms of {count(of.deviceCount, "device")} are sent</span>
      </p>
      {(of.warnings ?? []).map((warning, index) => <Notice key={index} tone="warn">{warning}</Notice>)}
      {of.action === "changed" && <Diff before={toYaml(of.before)} after={toYaml(of.after)} label={`Difference of ${of.name}`} />}
    </section>
  );
}

/** What happens on devices, in the words of each kind of document. */
const USUAL = { gain: "follow it from now on", update: "follow what it says now", lose: "follow it no longer" };
const WORDS: Record<string, typeof USUAL> = {
  Workload: { gain: "begin to run it", update: "go to the new revision", lose: "stop it" },
  LinkBudget: { gain: "have this budget from now on", update: "have what it gives now", lose: "no longer have this budget" },
};

export function Changes({ of }: { of: AppliedDocument }) {
  return of.kind === "Notification" ? <Told of={of} /> : <OnDevices of={of} />;
}

function OnDevices({ of }: { of: AppliedDocument }) {
  const { gain, gainCount, lose, loseCount, update, updateCount } = of.changedDevices ?? { gain: [], gainCount: 0, lose: [], loseCount: 0, update: [], updateCount: 0 };
  const words = WORDS[of.kind] ?? USUAL;
  return (
    <section className="hf-stack hf-tight" aria-label={`Changes of ${of.name}`}>
      <p className="hf-row">
        <strong>{of.name}</strong> <State tone={TONES[of.action] ?? "idle"}>{ACTIONS[of.action] ?? of.action}</State>
        <span className="hf-kind">{of.kind === "Workload" ? <>revision {of.revision} on {count(of.deviceCount, "device")}</> : of.effect}</span>
      </p>
      {(of.warnings ?? []).map((warning, index) => <Notice key={index} tone="warn">{warning}</Notice>)}
      <Hit words={words.gain} names={gain ?? []} total={gainCount} tone="good" />
      <Hit words={words.update} names={update ?? []} total={updateCount} tone="move" />
      <Hit words={words.lose} names={lose ?? []} total={loseCount} tone="bad" />
      {gainCount + updateCount + loseCount === 0 && <p>No device changes.</p>}
      {of.action === "changed" && <Diff before={toYaml(of.before)} after={toYaml(of.after)} label={`Difference of ${of.name}`} />}
    </section>
  );
}

function Hit({ words, names, total, tone }: { words: string; names: readonly string[]; total: number; tone: Tone }) {
  if (total === 0) return null;
  return (
    <details className="hf-hit" open={total <= 10}>
      <summary><State tone={tone}>{count(total, "device")}</State> {words}</summary>
      <span className="hf-row hf-tight">
        {names.slice(0, 100).map((name) => <PageLink key={name} className="hf-label" to={deviceAt(name)}>{name}</PageLink>)}
        {total > names.length && <span className="hf-kind">{some([], total - names.length).replace(/^ and /, "")}</span>}
      </span>
    </details>
  );
}
