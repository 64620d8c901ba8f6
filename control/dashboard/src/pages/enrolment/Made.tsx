// A token that was just made: the line for the device, shown while it is needed, and the devices that
// arrive with it.
import { Button, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Suspense, useState } from "react";
import * as read from "../../api/queries";
import type { components } from "../../api/schema";
import { enrolLine, isLoopback, masked } from "../../lib/enrol";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { CopyButton } from "../../ui/Copy";
import { later } from "../../ui/later";
import { Loading } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";
import { Arrivals } from "./Arrivals";

const QrCode = later(() => import("../../ui/QrCode"));

interface Props {
  made: components["schemas"]["CreatedToken"];
  uses: number;
  manual: boolean;
  again: () => void;
  close: () => void;
}

export function Made({ made, uses, manual, again, close }: Props) {
  const { data: about } = useQuery(read.about());
  const { data: use } = useQuery(read.token(made.id));
  const [typed, setUrl] = useState("");
  const [name, setName] = useState("");
  const [hidden, setHidden] = useState(false);
  const others = (about?.addresses ?? []).filter((address) => !isLoopback(address));
  const url = typed.trim() || (isLoopback(location.origin) ? (others[0] ?? location.origin) : location.origin);
  // Once all devices have arrived its secret is of no use to them.
  const spent = use !== undefined && (use.used >= use.uses || use.state !== "active");
  const shown = !spent && !hidden;
  const line = enrolLine(made.token, url, name.trim());
  return (
    <Card title={spent ? "The token is used" : "The token is made"}>
      <div className="hf-stack">
        {shown && <Notice tone="warn" title="This is the only time that its secret is shown">It lets {count(uses, "device")} in{manual ? ", each after your approval" : ""}. It names this control plane's CA{about && <> (<span className="hf-mono">{about.ca.sha256.slice(0, 16)}…</span>)</>}: the device verifies its first contact already.</Notice>}
        {shown && (
          <div className="hf-grid">
            <TextInput label="Address as the device sees it" value={typed || url} onChange={(event) => setUrl(event.currentTarget.value)} spellCheck={false} />
            {others.length > 0 && <Select label="Addresses that the control plane knows" data={[...new Set([...others, location.origin])]} value={url} onChange={(address) => setUrl(address ?? "")} />}
            {uses === 1 && <TextInput label="Name of the device (may be empty)" description="Without, the control plane makes one" value={name} onChange={(event) => setName(event.currentTarget.value)} spellCheck={false} />}
          </div>
        )}
        {shown && isLoopback(url) && <Loopback url={url} listens={about?.apiAddress} others={others.length > 0} />}
        <div className="hf-stack hf-tight">
          <div className="hf-row hf-spread">
            <strong id="hf-line-title">{shown ? "Paste this line on the device" : "The line, without the token's secret"}</strong>
            {shown && <span className="hf-row hf-tight"><CopyButton text={line} /><Button size="xs" variant="default" onClick={() => setHidden(true)}>Hide the secret</Button></span>}
          </div>
          {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in */}
          <pre className="hf-code" tabIndex={0} role="region" aria-labelledby="hf-line-title" data-testid="enrol-line">{shown ? line : enrolLine(masked(made.token), url, name.trim())}</pre>
          {shown && <p className="hf-kind">Then start the agent, as a service: <span className="hf-mono">holdfast-agent.service</span>.</p>}
        </div>
        {shown && <Suspense fallback={<Loading rows={4} />}><QrCode text={line} label="QR code of the line above" /></Suspense>}
        {use && <Arrivals use={use} />}
        <div className="hf-row">
          <Button onClick={close}>Done</Button>
          <Button variant="default" onClick={again}>Make another</Button>
        </div>
      </div>
    </Card>
  );
}

/** The address in the line leads each device to itself. */
function Loopback({ url, listens, others }: { url: string; listens: string | null | undefined; others: boolean }) {
  return (
    <Notice tone="warn" title="No other machine reaches this address" alert>
      <span className="hf-mono">{url}</span> means the machine itself: on a device it leads to the device.{" "}
      {others
        ? "Choose one of the addresses that the control plane knows."
        : listens && isLoopback(`https://${listens}`)
          ? <>The control plane listens on <span className="hf-mono">{listens}</span> alone. Let it listen on an address of its network, open these pages there, and make the token again.</>
          : "Write the control plane's address in your network above, or open these pages by it."}
    </Notice>
  );
}
