// A question that each device answers from its own buffer: only partial answers cross the links.
import { Button, Progress as Bar, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { askFleet, type Answer as Whole, type Progress, type Question } from "../../api/ask-fleet";
import { Refusal } from "../../api/client";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Failed, Notice } from "../../ui/Notice";
import { SelectorInput } from "../../ui/SelectorInput";
import { useSearch } from "../../ui/useSearch";
import { Answer } from "./Answer";
import { ActButton } from "../../ui/rights";

const FIELDS = [
  { name: "stream", label: "Stream", hint: "pump/temperature" },
  { name: "select", label: "Select", hint: "count, mean(temp), p95(temp)" },
  { name: "where", label: "Where", hint: "temp > 30 and ok" },
  { name: "by", label: "By", hint: "site" },
  { name: "every", label: "Every", hint: "5m" },
  { name: "since", label: "Since", hint: "24h" },
  { name: "until", label: "Until", hint: "now" },
  { name: "wait", label: "Wait for offline devices", hint: "10m" },
] as const;

type State =
  | { kind: "idle" }
  | { kind: "asking"; progress?: Progress | undefined; stop: AbortController }
  | { kind: "answered"; answer: Whole }
  | { kind: "cancelled" }
  | { kind: "failed"; error: unknown };

export function AskFleet() {
  const [search, setSearch] = useSearch();
  const [given, setGiven] = useState<Record<string, string>>(() => ({ select: "count", since: "24h", ...Object.fromEntries(FIELDS.flatMap(({ name }) => (search[name] ? [[name, search[name]]] : []))) }));
  const [labels, setLabels] = useState(search.labels ?? "");
  const [state, setState] = useState<State>({ kind: "idle" });
  const running = useRef<AbortController>(undefined);
  // Whoever leaves the page wants no answer: the devices are told to stop.
  useEffect(() => () => running.current?.abort(), []);

  const ask = async () => {
    const stop = new AbortController();
    running.current = stop;
    setState({ kind: "asking", stop });
    const filled = Object.fromEntries(Object.entries({ ...given, labelSelector: labels }).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value !== ""));
    setSearch({ ...Object.fromEntries(FIELDS.map(({ name }) => [name, filled[name]])), labels: labels || undefined });
    try {
      const answer = await askFleet(filled as unknown as Question, stop.signal, (progress) => setState({ kind: "asking", progress, stop }));
      setState({ kind: "answered", answer });
    } catch (error) {
      setState(stop.signal.aborted ? { kind: "cancelled" } : { kind: "failed", error });
    }
  };

  const fault = state.kind === "failed" && state.error instanceof Refusal ? state.error.faults : [];
  return (
    <div className="hf-stack">
      <Card title="Question">
        <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void ask(); }}>
          <div className="hf-grid">
            {FIELDS.map(({ name, label, hint }) => (
              <TextInput
                key={name}
                className="hf-mono-input"
                label={label}
                placeholder={hint}
                value={given[name] ?? ""}
                required={name === "stream" || name === "select"}
                onChange={(event) => setGiven({ ...given, [name]: event.currentTarget.value })}
                error={fault.find(({ path }) => path === name)?.message}
                spellCheck={false}
                autoComplete="off"
              />
            ))}
            <div><span className="hf-kind">Of devices with these labels</span><SelectorInput value={labels} onChange={(value) => setLabels(value ?? "")} fault={undefined} /></div>
          </div>
          <div className="hf-row">
            <ActButton may="query.ask" type="submit" disabled={state.kind === "asking"}>Ask</ActButton>
            {state.kind === "asking" && <Button variant="default" onClick={() => state.stop.abort()}>Cancel</Button>}
          </div>
        </form>
        {state.kind === "asking" && <Asking of={state.progress} />}
        {state.kind === "cancelled" && <Notice tone="idle" title="Cancelled">The devices were told to stop; nothing of the answer is shown.</Notice>}
        {state.kind === "failed" && <Failed error={state.error} what="The question was not answered" />}
      </Card>
      {state.kind === "answered" && <Answer of={state.answer} />}
    </div>
  );
}

function Asking({ of }: { of: Progress | undefined }) {
  return (
    <div className="hf-stack hf-tight" role="status">
      <Bar value={of && of.of > 0 ? (100 * of.answered) / of.of : 0} aria-label="Devices that have answered" />
      <span className="hf-kind">{of ? `${of.answered.toLocaleString("en")} of ${count(of.of, "device")} have answered` : "asking"}</span>
    </div>
  );
}
