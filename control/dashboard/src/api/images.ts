// What is done with images: another name, an end, and a copy from another registry, which belongs to
// the pages and goes on while others are looked at.
import { ask, client, reason } from "./client";
import { jsonLines } from "./lines";
import { queries } from "./query-client";
import type { components } from "./schema";
import { store } from "./store";

type Schemas = components["schemas"];
export type CopyProgress = Schemas["CopyProgress"];
export type CopyImage = Schemas["CopyImage"];
type Image = Schemas["Image"];

const refresh = () => Promise.all(["images", "image", "audit"].map((key) => queries.invalidateQueries({ queryKey: [key] })));

export async function tagImage(reference: string, name: string): Promise<Image> {
  const tagged = await ask(client.POST("/api/v1/images/{reference}/tag", { params: { path: { reference } }, body: { name } }));
  await refresh();
  return tagged;
}

/** `force`: although revisions of workloads name it. */
export async function deleteImage(reference: string, force: boolean): Promise<Schemas["DeletedImage"]> {
  const deleted = await ask(client.DELETE("/api/v1/images/{reference}", { params: { path: { reference }, query: { force } } }));
  await refresh();
  return deleted;
}

export type Copying =
  | { kind: "none" }
  | { kind: "copying"; from: string; progress?: CopyProgress; stop: () => void }
  | { kind: "done"; from: string; image: Image; name: string }
  | { kind: "cancelled"; from: string }
  | { kind: "failed"; from: string; why: string };

/** The copy of this tab, one at a time. */
export const copying = store<Copying>({ kind: "none" });

// The control plane ends a copy whose client has gone.
addEventListener("beforeunload", (event) => {
  if (copying.get().kind === "copying") event.preventDefault();
});

export async function copyImage(wanted: CopyImage): Promise<void> {
  if (copying.get().kind === "copying") return;
  const { from } = wanted;
  const abort = new AbortController();
  const stop = () => abort.abort();
  copying.set({ kind: "copying", from, stop });
  try {
    const image = await jsonLines<CopyProgress, Image>("/api/v1/images/copy", wanted, abort.signal, (progress) => copying.set({ kind: "copying", from, progress, stop }));
    copying.set({ kind: "done", from, image, name: wanted.to ?? from });
    await refresh();
  } catch (error) {
    copying.set(abort.signal.aborted ? { kind: "cancelled", from } : { kind: "failed", from, why: reason(error) });
  }
}

/** Forgets how the last one ended. */
export function forgetCopy(): void {
  if (copying.get().kind !== "copying") copying.set({ kind: "none" });
}
