// Editing and applying: the editor, the faults with their places, what would change, conflicts.
import { Button, FileButton, Menu } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Suspense, useMemo, useRef, useState } from "react";
import { apply } from "../api/actions";
import { reason, Refusal } from "../api/client";
import { queries } from "../api/query-client";
import * as read from "../api/queries";
import type { AppliedDocument } from "../api/types";
import { hasComments } from "../lib/comments";
import { toYaml } from "../lib/document";
import { filled, inserted, type Example } from "../lib/examples";
import { locate, pathOf, read as parse, type Mark } from "../lib/faults";
import { suggestions } from "../lib/images";
import { merge, type Json } from "../lib/merge";
import { MANY_APPLIED, reached } from "../lib/jobs";
import { kindOfDocument, KINDS } from "../lib/policies";
import { count } from "../lib/words";
import { Confirm } from "../ui/Confirm";
import { Dialog } from "../ui/Dialog";
import { later } from "../ui/later";
import { Loading } from "../ui/Loading";
import { Notice } from "../ui/Notice";
import { PushArtifact } from "../ui/PushArtifact";
import { Changes } from "./Changes";
import type { EditorHandle } from "./CodeEditor";
import { Conflict } from "./Conflict";
import { draftOf, keep, type Base } from "./drafts";
import { useDryRun } from "./useDryRun";
import { ActButton, useCan } from "../ui/rights";

const CodeEditor = later(() => import("./CodeEditor"));

interface Props {
  /** Under which unsaved text is kept. */
  draft: string;
  initial: string;
  base?: Base;
  /** Documents to begin with. */
  examples?: readonly Example[];
  /** Whether files can be opened into it, as `holdfast apply -f` takes them. */
  files?: boolean;
  label: string;
  applied: (results: AppliedDocument[]) => void;
}

/** What one document of a kind is called. */
const nounOf = (kind: string | undefined) => {
  const known = kindOfDocument(kind ?? "");
  return known ? KINDS[known].one : "workload";
};

const NONE: readonly Example[] = [];

/** From so many devices on the workload's name is typed before they lose it. */
const MANY = 2;

export function EditPane({ draft, initial, base: first, examples = NONE, files = false, label, applied }: Props) {
  const kept = useMemo(() => draftOf(draft), [draft]);
  const [text, setText] = useState(kept?.text ?? initial);
  const [base, setBase] = useState(kept?.base ?? first);
  const [conflicts, setConflicts] = useState<{ path: string; message: string }[]>([]);
  const [refused, setRefused] = useState(false);
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const [pushing, setPushing] = useState(false);
  const editor = useRef<EditorHandle>(null);
  const schema = useQuery(read.schema());
  const mayList = useCan()("image.list").allowed;
  const images = useQuery({ ...read.images(), enabled: mayList && (examples.length > 0 || /\bimage:/.test(text)) }).data?.items;
  const offered = useMemo(() => suggestions(images ?? []), [images]);
  const texts = useMemo(() => examples.map((example) => ({ title: example.title, text: filled(example.text, images ?? []) })), [examples, images]);
  const guard = useMemo(() => base && { kind: base.kind, name: base.name, version: base.version }, [base]);
  const run = useDryRun(text, schema.data, guard);

  const change = (next: string) => {
    setText(next);
    setFailure("");
    keep(draft, next === initial ? undefined : { text: next, base });
  };
  const commented = useMemo(() => hasComments(text), [text]);
  const marks = useMemo(() => [...run.marks, ...locate(parse(text).documents, conflicts, "warning")], [run.marks, text, conflicts]);
  const losing = (run.results ?? []).filter((result) => (result.changedDevices?.loseCount ?? 0) > 0);
  const loses = losing.reduce((sum, result) => sum + (result.changedDevices?.loseCount ?? 0), 0);
  const isData = losing.every((result) => result.kind !== "Workload");
  const hits = reached(run.results ?? []);
  const changes = (run.results ?? []).some((result) => result.action !== "unchanged");
  const ready = run.results !== undefined && changes && !busy;

  const send = async () => {
    setBusy(true);
    setFailure("");
    try {
      const { results } = await apply(run.documents, false);
      keep(draft, undefined);
      await Promise.all([["workloads"], ["workload"], ["fleet"], ["devices"], ["device"], ["notification"], ["policies"], ["policy"]].map((queryKey) => queries.invalidateQueries({ queryKey })));
      applied(results);
    } catch (error) {
      if (error instanceof Refusal && error.code === "conflict") {
        setRefused(true);
        if (base) await queries.invalidateQueries({ queryKey: kindOfDocument(base.kind ?? "") ? ["policy"] : ({ Notification: ["notification"], DevicePolicy: ["devices"] }[base.kind ?? ""] ?? ["workload", base.name]) });
      } else setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  const submit = () => {
    if (!ready) return;
    if (loses > 0 || hits > MANY_APPLIED) setAsking(true);
    else void send();
  };
  const openFiles = async (chosen: File[]) => {
    try {
      const texts = await Promise.all(chosen.map((file) => file.text()));
      if (texts.length > 0) change(texts.map((one) => one.replace(/\s*$/, "\n")).join("---\n"));
    } catch (error) {
      setFailure(`The files could not be read: ${reason(error)}`);
    }
  };
  const rebase = (theirs: Base) => {
    const mine = parse(text).values[0];
    if (!base || mine === undefined) {
      setFailure("Your text is not YAML at the moment: mend it first, then it can be put onto the newest.");
      return;
    }
    const merged = merge(base.document, mine as Json, theirs.document);
    const next = toYaml(merged.value);
    setConflicts(merged.conflicts.map(({ path, theirs }) => ({ path: pathOf(path) || "document", message: `both changed this; yours stands here, theirs is ${theirs === undefined ? "that it is gone" : JSON.stringify(theirs)}` })));
    setBase(theirs);
    setRefused(false);
    setText(next);
    keep(draft, { text: next, base: theirs });
  };
  const discard = (theirs: Base) => {
    setConflicts([]);
    setBase(theirs);
    setRefused(false);
    setText(toYaml(theirs.document));
    keep(draft, undefined);
  };
  const conflict = base !== undefined && (refused || run.conflict);
  const names = [...new Set((run.results ?? []).map((result) => result.name))];
  return (
    <div className="hf-edit">
      <div className="hf-stack hf-tight">
        <Suspense fallback={<Loading rows={10} />}>
          <CodeEditor handle={editor} value={text} onChange={change} marks={marks} schema={schema.data} images={offered} label={label} submit={submit} />
        </Suspense>
        <p className="hf-kind">Ctrl-Space completes, Ctrl-Enter applies, Escape and then Tab leaves the editor.</p>
        {commented && <p className="hf-kind">Comments are not kept: the control plane stores the document, not the text.</p>}
        <div className="hf-row">
          {files && (
            <FileButton multiple accept=".yaml,.yml,.json" onChange={(chosen) => void openFiles(chosen)}>
              {(props) => <Button {...props} size="xs" variant="default">Open files…</Button>}
            </FileButton>
          )}
          {texts.length > 0 && (
            <Menu position="bottom-start">
              <Menu.Target><Button size="xs" variant="default">Insert an example</Button></Menu.Target>
              <Menu.Dropdown>
                {texts.map((example) => <Menu.Item key={example.title} onClick={() => change(inserted(text, [initial, ...examples.map((one) => one.text), ...texts.map((one) => one.text)], example.text))}>{example.title}</Menu.Item>)}
              </Menu.Dropdown>
            </Menu>
          )}
          <ActButton may="artifact.put" size="xs" variant="default" onClick={() => setPushing(true)}>Push an artifact…</ActButton>
        </div>
      </div>
      <div className="hf-stack">
        <div className="hf-row">
          <ActButton may="document.apply" onClick={submit} disabled={!ready} loading={busy}>Apply</ActButton>
          {text !== initial && <Button variant="default" onClick={() => { change(first ? toYaml(first.document) : initial); setBase(first); setConflicts([]); setRefused(false); }}>Discard my changes</Button>}
          <span className="hf-kind" role="status">
            {!run.settled ? "Asking the control plane…" : run.marks.length > 0 ? count(run.marks.length, "fault") : run.results ? (changes ? "Accepted, not applied yet" : "Nothing would change") : ""}
          </span>
        </div>
        {conflict && base && <Conflict base={base} refused={refused} rebase={rebase} discard={discard} />}
        {failure && <Notice tone="bad" title="Not applied" alert>{failure}</Notice>}
        {run.failure && !failure && <Notice tone="bad" title="The dry run failed" alert>{run.failure}</Notice>}
        <Faults marks={marks} text={text} jump={(mark) => editor.current?.jump(mark.from, mark.to)} />
        {base && names.length > 0 && !names.includes(base.name) && <Notice tone="warn" title="Another name">This makes another {nounOf(base.kind)}; {base.name} stays as it is.</Notice>}
        {!conflict && (run.results ?? []).map((result) => <Changes key={result.name} of={result} />)}
      </div>
      {pushing && <Dialog title="Push an artifact" close={() => setPushing(false)} size="lg"><PushArtifact /></Dialog>}
      {asking && (
        <Confirm
          title={loses === 0 ? `Apply to ${count(hits, "device")} at once?` : isData ? `${losing.length === 1 ? (losing[0]?.name ?? "") : "Policies"} will no longer apply to ${count(loses, "device")}` : `${count(loses, "device")} will stop ${losing.length === 1 ? (losing[0]?.name ?? "") : "workloads"}`}
          act={loses === 0 ? `Apply to ${count(hits, "device")}` : isData ? `Apply, and no longer to ${count(loses, "device")}` : `Apply, and stop it on ${count(loses, "device")}`}
          typed={hits > MANY_APPLIED ? String(hits) : loses >= MANY ? losing[0]?.name : undefined}
          run={send}
          close={() => setAsking(false)}
        >
          {hits > MANY_APPLIED && <p>This changes {count(hits, "device")}, all of them at once. The number is typed so that it is meant.</p>}
          {losing.map((result) => <p key={result.name}><strong>{result.name}</strong> {result.kind === "Workload" ? "ends on" : "no longer applies to"} {count(result.changedDevices?.loseCount ?? 0, "device")}: {(result.changedDevices?.lose ?? []).slice(0, 8).join(", ")}{(result.changedDevices?.loseCount ?? 0) > 8 ? ", …" : ""}.{result.kind === "Workload" ? " Its folder there is deleted." : ""}</p>)}
        </Confirm>
      )}
    </div>
  );
}

function Faults({ marks, text, jump }: { marks: readonly Mark[]; text: string; jump: (mark: Mark) => void }) {
  if (marks.length === 0) return null;
  const line = (at: number) => text.slice(0, at).split("\n").length;
  return (
    <div className="hf-notice hf-bad" role="region" aria-label="Faults">
      <ul className="hf-list">
        {marks.map((mark, index) => (
          <li key={index}>
            <button type="button" className="hf-fault" onClick={() => jump(mark)}>line {line(mark.from)}{mark.path && <> · <span className="hf-mono">{mark.path}</span></>}</button>
            <div className="hf-notice-body">{mark.message}</div>
          </li>
        ))}
      </ul>
    </div>
  );
}
