// Says when the control plane is out of reach, and since when nothing was heard of it. The pages keep
// what they have; it goes by itself.
import { Button } from "@mantine/core";
import { tryNow } from "../api/events";
import { reach } from "../api/reach";
import { useStore } from "../api/store";
import { clock } from "../lib/time";
import { Notice } from "./Notice";
import { Time } from "./Time";

export function Banner() {
  const { since } = useStore(reach);
  return (
    <div role="status" aria-live="assertive">
      {since !== undefined && (
        <div className="hf-out">
          <Notice tone="warn" title="The control plane is out of reach">
            <div className="hf-row hf-spread">
              <span>Last heard at {clock(since)}, <Time at={since} />: what you see is from then. Devices go on by themselves. This page tries again, and recovers by itself.</span>
              <Button size="xs" variant="default" onClick={tryNow}>Try now</Button>
            </div>
          </Notice>
        </div>
      )}
    </div>
  );
}
