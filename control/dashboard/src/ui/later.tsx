// Parts whose code comes later. All of it is fetched while nothing else is done, so that a click
// during an outage finds it; what is missing all the same is waited for in its place, and the rest of
// the page stays. `React.lazy` remembers a failure for ever, and a router's own loads the document anew.
// See decision 0114.
import { Button } from "@mantine/core";
import { useEffect, type ComponentType } from "react";
import { reach } from "../api/reach";
import { store, useStore } from "../api/store";
import { Loading } from "./Loading";
import { Notice } from "./Notice";

interface Chunk {
  /** Fetches it unless it is there. False: it could not be had. */
  fetch: () => Promise<boolean>;
  isThere: () => boolean;
}

const chunks = new Set<Chunk>();

type State<P> = { module?: ComponentType<P>; failed: number };

const RETRY_FIRST = 1_000;
const RETRY_LAST = 8_000;
/** After so many attempts that an answering control plane did not satisfy, the reader is asked. */
const PATIENCE = 3;

export type Later<P> = ComponentType<P> & { preload: () => Promise<void> };

/** `load` as a component; `what` is what the reader calls it. */
export function later<P extends object>(load: () => Promise<{ default: ComponentType<P> }>, what = "part"): Later<P> {
  const state = store<State<P>>({ failed: 0 });
  let under: Promise<boolean> | undefined;
  const fetch = (): Promise<boolean> => {
    if (state.get().module) return Promise.resolve(true);
    under ??= load()
      .then(
        ({ default: module }) => {
          state.set({ module, failed: 0 });
          return true;
        },
        () => {
          state.set({ failed: state.get().failed + 1 });
          return false;
        },
      )
      .finally(() => (under = undefined));
    return under;
  };
  chunks.add({ fetch, isThere: () => state.get().module !== undefined });

  function Part(props: P) {
    const { module: Module, failed } = useStore(state);
    const { since } = useStore(reach);
    useEffect(() => {
      if (Module) return;
      const pause = failed === 0 ? 0 : Math.min(RETRY_LAST, RETRY_FIRST * 2 ** (failed - 1));
      const timer = setTimeout(() => void fetch(), pause);
      return () => clearTimeout(timer);
      // When the control plane answers again it is tried at once.
    }, [Module, failed, since]);
    if (Module) return <Module {...props} />;
    if (failed === 0) return <Loading rows={6} />;
    return (
      <Notice tone="warn" title={`This ${what} could not be loaded yet, trying`}>
        <div className="hf-row hf-spread">
          <span>{since === undefined && failed >= PATIENCE ? "The control plane answers, but does not have this part: it may have been updated since this tab was opened." : `Tried ${failed === 1 ? "once" : `${failed} times`}. It appears by itself as soon as the control plane sends it.`}</span>
          {since === undefined && failed >= PATIENCE && <Button size="xs" variant="default" onClick={() => location.reload()}>Load the dashboard anew</Button>}
        </div>
      </Notice>
    );
  }
  // A failure is shown where the part is; whoever only prepares it has nothing to handle.
  return Object.assign(Part, { preload: async () => void (await fetch()) });
}

const idle = () => new Promise<void>((go) => ("requestIdleCallback" in window ? requestIdleCallback(() => go(), { timeout: 4_000 }) : setTimeout(go, 300)));

/** How many parts are not there yet. */
export const missing = () => [...chunks].filter((chunk) => !chunk.isThere()).length;

/** Fetches all code, one part at a time and while nothing else is done. Parts that a part has are
 * known once it is there. */
export async function fetchAll(): Promise<void> {
  for (;;) {
    const next = [...chunks].find((chunk) => !chunk.isThere());
    if (!next) return;
    await idle();
    if (!(await next.fetch())) await new Promise((go) => setTimeout(go, RETRY_LAST));
  }
}
