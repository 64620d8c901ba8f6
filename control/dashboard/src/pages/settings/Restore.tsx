// A backup in the place of everything: the file looked at, the one who asks asked in return, sent.
import { Button, FileButton, PasswordInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import * as read from "../../api/queries";
import { busy } from "../../api/upload";
import { backup } from "../../api/uploads";
import { useStore } from "../../api/store";
import { HEAD, manifestOf, type Manifest } from "../../lib/backup";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Notice } from "../../ui/Notice";
import { Restored } from "../../ui/Restored";
import { Sending } from "../../ui/Sending";
import { Time } from "../../ui/Time";

export function Restore() {
  const now = useStore(backup.now);
  const [chosen, setChosen] = useState<{ file: File; manifest: Partial<Manifest> }>();
  const [wrong, setWrong] = useState("");
  // The same file may be chosen again.
  const reset = useRef<() => void>(null);
  const choose = async (file: File | null) => {
    if (!file) return;
    reset.current?.();
    backup.forget();
    setChosen(undefined);
    setWrong("");
    try {
      const manifest = manifestOf(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
      if (manifest?.by === "identity") setWrong(`${file.name} is encrypted to a recipient, whose identity does not belong into a browser: the command line restores it.`);
      else if (manifest) setChosen({ file, manifest });
      else setWrong(`${file.name} is not a backup of Holdfast. “Download a backup” makes such files.`);
    } catch {
      setWrong(`${file.name} cannot be read: it may have changed or gone meanwhile.`);
    }
  };
  return (
    <Card title="Restore">
      <p>A backup takes the place of everything that this control plane knows. It is checked whole first; if it is not good, nothing changes.</p>
      {!busy(now) && (
        <div>
          <FileButton resetRef={reset} onChange={(file) => void choose(file)} accept=".tar,.age,application/x-tar">
            {(props) => <Button {...props} variant="default">Choose a backup…</Button>}
          </FileButton>
        </div>
      )}
      {wrong && <Notice tone="bad" title="No backup" alert>{wrong}</Notice>}
      <Sending of={now} not="Not restored" storing="The control plane checks it whole and then puts it in place. This cannot be stopped any more, and the session ends with it." />
      {now.kind === "done" && <Restored />}
      {chosen && <Ask file={chosen.file} manifest={chosen.manifest} close={() => setChosen(undefined)} />}
    </Card>
  );
}

function Ask({ file, manifest, close }: { file: File; manifest: Partial<Manifest>; close: () => void }) {
  const { data: fleet } = useQuery(read.fleet());
  const here = location.host;
  const [passphrase, setPassphrase] = useState("");
  const headers: Record<string, string> = manifest.by ? { "holdfast-backup-passphrase": btoa(String.fromCharCode(...new TextEncoder().encode(passphrase))) } : {};
  return (
    // Sent while the page shows how far it is: the dialog ends with the answer to its question.
    <Confirm title={`Replace everything on ${here}?`} act="Restore this backup" typed={here} run={() => { void backup.send(file, headers); return Promise.resolve(); }} close={close}>
      <div className="hf-stack">
        <div>
          <p><strong>What takes its place:</strong></p>
          <p><span className="hf-mono">{file.name}</span>, {bytes(file.size)}{manifest.createdAt && <>, made <Time at={manifest.createdAt} /></>}{manifest.program && <> by {manifest.program}</>}.</p>
        </div>
        {manifest.by && <PasswordInput label="Passphrase of the backup" value={passphrase} onChange={(event) => setPassphrase(event.currentTarget.value)} autoComplete="off" />}
        <div>
          <p><strong>What is replaced, and gone:</strong></p>
          <ul>
            <li>{fleet ? `${count(fleet.devices.total, "device")} and ${count(fleet.workloads.total, "workload")}` : "all devices and workloads"} as they are known now, with labels and revisions</li>
            <li>enrolment tokens, access tokens (those of the backup count again) and the activity</li>
            <li>every session, yours too: log in with an access token of the backup</li>
          </ul>
        </div>
        <p>Once it is done, only a backup brings it back: download one of what is there now first, above.</p>
        <p><strong>Devices follow the backup:</strong> workloads that are not in it are stopped and their folders deleted; those that are in it go back to its revisions. Devices that enrolled since are not known any more and must enrol anew.</p>
      </div>
    </Confirm>
  );
}
