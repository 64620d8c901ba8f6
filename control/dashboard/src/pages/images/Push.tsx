// How an image gets here from one's own machine. Layers are unpacked and checked on the way, which the
// command line does; a browser does not.
import { Button } from "@mantine/core";
import { PUSH_LINES } from "../../lib/image-lines";
import { Card } from "../../ui/Card";
import { CodeLine } from "../../ui/CodeLine";
import { Shut, useCan } from "../../ui/rights";

export function Push({ close }: { close: () => void }) {
  const { allowed, why } = useCan()("image.put");
  return (
    <Card title="Push an image" aside={<Button size="compact-xs" variant="subtle" onClick={close}>Close</Button>}>
      <p>The command line pushes images: it unpacks their layers and sends those that are not here yet. A push that was cut goes on where it was.</p>
      {!allowed && <div><Shut size="xs" variant="default" why={why}>You may not push images</Shut></div>}
      {PUSH_LINES.map(({ from, line }) => <CodeLine key={line} title={from} line={line} />)}
      <p className="hf-kind">Nobody needs to push what another registry has: the control plane copies it from there.</p>
    </Card>
  );
}
