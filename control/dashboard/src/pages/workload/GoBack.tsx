// The way back to a former revision: what changes and on which devices, by a dry run, before it is
// done. The former document becomes a new revision; nothing is lost.
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reason } from "../../api/client";
import { rollback } from "../../api/jobs";
import type { Workload } from "../../api/types";
import { Changes } from "../../editor/Changes";
import { MANY_APPLIED, reached } from "../../lib/jobs";
import { Dialog } from "../../ui/Dialog";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { say } from "../../ui/say";

export function GoBack({ workload, to, close }: { workload: Workload; to: number; close: () => void }) {
  const name = workload.metadata.name;
  const version = workload.metadata.resourceVersion;
  const dry = useQuery({ queryKey: ["workload", name, "rollback", to, version], queryFn: () => rollback(name, to, true, version), retry: false });
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const results = dry.data?.results ?? [];
  const hits = reached(results);
  const needed = hits > MANY_APPLIED ? String(hits) : undefined;
  const changes = results.some((result) => result.action !== "unchanged");
  const ready = changes && !busy && (needed === undefined || typed.replace(/[,\s]/g, "") === needed);
  const go = async () => {
    if (!ready) return;
    setBusy(true);
    setFailure("");
    try {
      const { results } = await rollback(name, to, false, version);
      say(`${name} is back at the document of revision ${to}, as revision ${results[0]?.revision ?? ""}`);
      close();
    } catch (error) {
      setFailure(reason(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Go back to revision ${to} of ${name}?`} close={close} size="lg">
      <form
        className="hf-stack"
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <p>The document of revision {to}, with its labels, is applied again as a new revision. The revisions since stay in the list.</p>
        {!dry.data && (dry.error ? <Failed error={dry.error} what="What would change could not be found out" retry={() => void dry.refetch()} /> : <Loading rows={4} />)}
        {results.map((result) => <Changes key={result.name} of={result} />)}
        {needed !== undefined && (
          <TextInput label={<>Type <span className="hf-mono">{needed}</span>, the number of devices that change, to confirm</>} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} inputMode="numeric" autoComplete="off" />
        )}
        {failure && <Notice tone="bad" title="Not done" alert>{failure}</Notice>}
        <div className="hf-row">
          <Button type="submit" disabled={!ready} loading={busy}>Go back to revision {to}</Button>
          <Button variant="default" onClick={close} data-autofocus>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}
