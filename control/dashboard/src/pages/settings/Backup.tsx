// A backup: who can open it is chosen before it is made.
import { Button, Checkbox, PasswordInput, Select, TextInput } from "@mantine/core";
import { useState } from "react";
import { backedUp, missing, type Choice } from "../../api/backup";
import { reason } from "../../api/client";
import { Card } from "../../ui/Card";
import { Notice } from "../../ui/Notice";
import { save } from "../../ui/save";

const KINDS = [
  { value: "passphrase", label: "By a passphrase" },
  { value: "recipient", label: "To a recipient (age1…)" },
  { value: "unencrypted", label: "Not encrypted" },
];

export function Backup() {
  const [kind, setKind] = useState<Choice["kind"]>("passphrase");
  const [passphrase, setPassphrase] = useState("");
  const [recipient, setRecipient] = useState("");
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const choice: Choice = kind === "passphrase" ? { kind, passphrase } : kind === "recipient" ? { kind, recipient } : { kind };
  const lacks = missing(choice) ?? (kind === "unencrypted" && !sure ? "Confirm that it is not encrypted." : undefined);
  const go = async () => {
    if (lacks || busy) return;
    setBusy(true);
    setFailure("");
    try {
      const { name, content } = await backedUp(choice);
      save(name, content, content.type);
      setPassphrase("");
    } catch (error) {
      setFailure(reason(error));
    }
    setBusy(false);
  };
  return (
    <Card title="Backup">
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <p>The control plane's store, its certificate authority and all artifacts in one file, taken while it runs.</p>
        <Select label="Encryption" data={KINDS} value={kind} onChange={(value) => value && setKind(value as Choice["kind"])} allowDeselect={false} />
        {kind === "passphrase" && <PasswordInput label="Passphrase" description="It is stored nowhere: without it the backup is lost. Six words that a dice chose are good." value={passphrase} onChange={(event) => setPassphrase(event.currentTarget.value)} autoComplete="new-password" />}
        {kind === "recipient" && <TextInput label="Recipient" description="Public key in the form of age. Whoever has its identity opens the backup." value={recipient} onChange={(event) => setRecipient(event.currentTarget.value)} autoComplete="off" spellCheck={false} />}
        {kind === "unencrypted" && <Checkbox label="Not encrypted: whoever has the file reads documents, names and labels" checked={sure} onChange={(event) => setSure(event.currentTarget.checked)} />}
        <Notice tone="warn" title={kind === "unencrypted" ? "It needs this master key" : "It contains every private key"}>
          {kind === "unencrypted" ? "Keys and secrets stay sealed in it: only a control plane with the same master key can restore it." : "Whoever opens the file can act as the control plane."}
        </Notice>
        {failure && <Notice tone="bad" title="No backup" alert>{failure}</Notice>}
        <div><Button type="submit" disabled={lacks !== undefined} loading={busy} title={lacks}>Download a backup</Button></div>
      </form>
    </Card>
  );
}
