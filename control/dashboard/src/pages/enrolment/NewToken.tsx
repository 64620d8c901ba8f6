// A new token: how long and for how many devices, with which labels.
import { Button, Checkbox, NumberInput, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { createToken } from "../../api/actions";
import { reason } from "../../api/client";
import type { components } from "../../api/schema";
import { labelKeys } from "../../lib/enrol";
import { labelPairs } from "../../lib/selector";
import { ttl as lengthOf } from "../../lib/ttl";
import { Card } from "../../ui/Card";
import { Notice } from "../../ui/Notice";
import { Made } from "./Made";
import { ActButton } from "../../ui/rights";

export function NewToken({ close }: { close: () => void }) {
  const [ttl, setTtl] = useState("24h");
  const [uses, setUses] = useState<number | string>(1);
  const [labels, setLabels] = useState("");
  const [manual, setManual] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const [allowed, setAllowed] = useState("");
  const [made, setMade] = useState<components["schemas"]["CreatedToken"]>();
  const first = useRef<HTMLInputElement>(null);
  // After the page's heading took the focus: whoever opens the form types next.
  useEffect(() => {
    if (!made) first.current?.focus();
  }, [made]);
  const keys = labelKeys(allowed);
  const pairs = labelPairs(labels);
  const length = lengthOf(ttl);
  const go = async () => {
    if (length.fault !== undefined || pairs.fault !== undefined || keys.fault !== undefined || Number(uses) < 1 || busy) return;
    setBusy(true);
    setFailure("");
    try {
      setMade(await createToken({ ttlSeconds: length.seconds, uses: Number(uses), labels: pairs.labels, allowLabels: keys.keys, approve: manual ? "manual" : "auto" }));
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  if (made) return <Made made={made} uses={Number(uses)} manual={manual} again={() => setMade(undefined)} close={close} />;
  return (
    <Card title="Make a token">
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <div className="hf-grid">
          <TextInput ref={first} label="Expires after" description="A number with s, m, h or d: 24h, 30d" value={ttl} onChange={(event) => setTtl(event.currentTarget.value)} error={length.fault} spellCheck={false} />
          <NumberInput label="Number of devices" description="Each of them uses it once" value={uses} onChange={setUses} min={1} max={1_000_000} allowDecimal={false} />
          <TextInput className="hf-mono-input" label="Labels of its devices" description="key=value, several with spaces between" placeholder="site=berlin role=gateway" value={labels} onChange={(event) => setLabels(event.currentTarget.value)} error={pairs.fault} spellCheck={false} />
          <TextInput className="hf-mono-input" label="Labels that devices may claim" description="Keys, several with spaces between; * is every key; empty: none" placeholder="site line" value={allowed} onChange={(event) => setAllowed(event.currentTarget.value)} error={keys.fault} spellCheck={false} />
        </div>
        <Checkbox label="Devices wait until somebody approves them" checked={manual} onChange={(event) => setManual(event.currentTarget.checked)} />
        {failure && <Notice tone="bad" title="No token was made" alert>{failure}</Notice>}
        <div className="hf-row">
          <ActButton may="token.create" type="submit" loading={busy} disabled={pairs.fault !== undefined || keys.fault !== undefined || length.fault !== undefined || Number(uses) < 1}>Make the token</ActButton>
          <Button variant="default" onClick={close}>Cancel</Button>
        </div>
      </form>
    </Card>
  );
}
