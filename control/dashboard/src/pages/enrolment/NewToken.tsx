// A new token, and what to do with it: one line for the device, as text and as QR code.
import { Button, Checkbox, NumberInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Suspense, useState } from "react";
import { createToken } from "../../api/actions";
import { reason } from "../../api/client";
import * as read from "../../api/queries";
import { enrolLine } from "../../lib/enrol";
import { labelPairs } from "../../lib/selector";
import { ttl as lengthOf } from "../../lib/ttl";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { CopyButton } from "../../ui/Copy";
import { later } from "../../ui/later";
import { Loading } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";

const QrCode = later(() => import("../../ui/QrCode"));

export function NewToken({ close }: { close: () => void }) {
  const [ttl, setTtl] = useState("24h");
  const [uses, setUses] = useState<number | string>(1);
  const [labels, setLabels] = useState("");
  const [manual, setManual] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const [made, setMade] = useState("");
  const pairs = labelPairs(labels);
  const length = lengthOf(ttl);
  const go = async () => {
    if (length.fault !== undefined) return;
    setBusy(true);
    setFailure("");
    try {
      const { token } = await createToken({ ttlSeconds: length.seconds, uses: Number(uses), labels: pairs.labels, approve: manual ? "manual" : "auto" });
      setMade(token);
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  if (made) return <Made token={made} uses={Number(uses)} manual={manual} again={() => setMade("")} close={close} />;
  return (
    <Card title="Make a token">
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <div className="hf-grid">
          <TextInput label="It ends after" description="A number with s, m, h or d: 24h, 30d" value={ttl} onChange={(event) => setTtl(event.currentTarget.value)} error={length.fault} spellCheck={false} />
          <NumberInput label="For how many devices" description="Each of them uses it once" value={uses} onChange={setUses} min={1} max={1_000_000} allowDecimal={false} />
          <TextInput className="hf-mono-input" label="Labels that it gives" description="key=value, several with spaces between" placeholder="site=berlin role=gateway" value={labels} onChange={(event) => setLabels(event.currentTarget.value)} error={pairs.fault} spellCheck={false} />
        </div>
        <Checkbox label="Devices wait until a person approves them" checked={manual} onChange={(event) => setManual(event.currentTarget.checked)} />
        {failure && <Notice tone="bad" title="No token was made" alert>{failure}</Notice>}
        <div className="hf-row">
          <Button type="submit" loading={busy} disabled={pairs.fault !== undefined || length.fault !== undefined || Number(uses) < 1}>Make the token</Button>
          <Button variant="default" onClick={close}>Cancel</Button>
        </div>
      </form>
    </Card>
  );
}

function Made({ token, uses, manual, again, close }: { token: string; uses: number; manual: boolean; again: () => void; close: () => void }) {
  const { data: about } = useQuery(read.about());
  const [url, setUrl] = useState(location.origin);
  const [name, setName] = useState("");
  const line = enrolLine(token, url.trim() || location.origin, name.trim());
  return (
    <Card title="The token is made">
      <div className="hf-stack">
        <Notice tone="warn" title="This is the only time that its secret is shown">It lets {count(uses, "device")} in{manual ? ", each after your approval" : ""}. It names this control plane's CA{about && <> (<span className="hf-mono">{about.ca.sha256.slice(0, 16)}…</span>)</>}: the device verifies its first contact already.</Notice>
        <div className="hf-grid">
          <TextInput label="Address as the device sees it" value={url} onChange={(event) => setUrl(event.currentTarget.value)} spellCheck={false} />
          {uses === 1 && <TextInput label="Name of the device (may be empty)" description="Without, the control plane makes one" value={name} onChange={(event) => setName(event.currentTarget.value)} spellCheck={false} />}
        </div>
        <div className="hf-stack hf-tight">
          <div className="hf-row hf-spread"><strong id="hf-line-title">Paste this line on the device</strong><CopyButton text={line} /></div>
          {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in */}
          <pre className="hf-code" tabIndex={0} role="region" aria-labelledby="hf-line-title" data-testid="enrol-line">{line}</pre>
          <p className="hf-kind">Then start the agent: <span className="hf-mono">systemctl enable --now holdfast-agent</span>. The device appears {manual ? "in the waiting room below" : "under Devices"} by itself.</p>
        </div>
        <Suspense fallback={<Loading rows={4} />}><QrCode text={line} label="QR code of the line above" /></Suspense>
        <div className="hf-row">
          <Button onClick={close}>Done</Button>
          <Button variant="default" onClick={again}>Make another</Button>
        </div>
      </div>
    </Card>
  );
}
