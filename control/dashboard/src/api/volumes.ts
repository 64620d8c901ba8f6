// Volumes of a device's containers. The device itself answers: it must be connected. A backup and a
// restore may take long and belong to the pages: they go on while others are looked at.
import { queryOptions } from "@tanstack/react-query";
import { ask, client, reason } from "./client";
import { patiently } from "./patient";
import { queries } from "./query-client";
import type { components } from "./schema";
import { store } from "./store";
import { busy, uploader } from "./upload";

type StoredArtifact = components["schemas"]["StoredArtifact"];

export interface VolumeId {
  device: string;
  workload: string;
  volume: string;
}

const listOf = (device: string) => `/api/v1/devices/${encodeURIComponent(device)}/volumes`;
const pathOf = ({ device, workload, volume }: VolumeId) => `${listOf(device)}/${encodeURIComponent(workload)}/${encodeURIComponent(volume)}`;
const refresh = (device: string) => queries.invalidateQueries({ queryKey: ["volumes", device] });

/** As the device knows them now. It is asked when somebody looks, and not again by itself: nothing
 * tells of a volume, and each question crosses the device's link. */
export const volumes = (device: string) =>
  queryOptions({
    queryKey: ["volumes", device],
    staleTime: Infinity,
    gcTime: 0,
    queryFn: ({ signal }) => patiently<components["schemas"]["List_Volume"]>("GET", listOf(device), undefined, signal),
  });

export async function deleteVolume(which: VolumeId): Promise<void> {
  await patiently("DELETE", pathOf(which));
  await refresh(which.device);
}

export type VolumeJob =
  | { kind: "backing-up" }
  | { kind: "backed-up"; artifact: StoredArtifact }
  | { kind: "restoring"; file: string }
  | { kind: "restored"; file: string }
  | { kind: "failed"; title: string; why: string };

/** What is under way with volumes, and how it ended, by their paths in the API. */
export const jobs = store<Readonly<Record<string, VolumeJob>>>({});

export const jobOf = (all: Readonly<Record<string, VolumeJob>>, which: VolumeId): VolumeJob | undefined => all[pathOf(which)];

function set(which: VolumeId, job: VolumeJob | undefined): void {
  const others = Object.entries(jobs.get()).filter(([path]) => path !== pathOf(which));
  jobs.set(Object.fromEntries(job ? [...others, [pathOf(which), job]] : others));
}

export const runs = (job: VolumeJob | undefined): boolean => job?.kind === "backing-up" || job?.kind === "restoring";

// The control plane ends what nobody waits for any more.
addEventListener("beforeunload", (event) => {
  if (Object.values(jobs.get()).some(runs)) event.preventDefault();
});

export const forgetJob = (which: VolumeId): void => {
  if (!runs(jobOf(jobs.get(), which))) set(which, undefined);
};

/** Has the device upload it; what it became is an artifact, to be downloaded. */
export async function backUp(which: VolumeId): Promise<void> {
  if (runs(jobOf(jobs.get(), which))) return;
  set(which, { kind: "backing-up" });
  try {
    set(which, { kind: "backed-up", artifact: await patiently<StoredArtifact>("POST", `${pathOf(which)}/backup`) });
  } catch (error) {
    set(which, { kind: "failed", title: "No backup", why: reason(error) });
  }
}

/** A backup that was downloaded needs no room with the control plane any more. */
export const dropArtifact = (digest: string) => ask(client.DELETE("/api/v1/artifacts/{digest}", { params: { path: { digest } } }));

/** Which volume the file that is being sent is for. */
export const target = store<VolumeId | undefined>(undefined);

/** The file of a restore on its way to the control plane, from which the device fetches it. */
export const restoreFile = uploader<StoredArtifact>({
  method: "PUT",
  path: "/api/v1/artifacts",
  type: "application/octet-stream",
  doubt: ({ size }, file) => (size === file.size ? undefined : `It was changed on its way: ${file.size} bytes were sent, ${size} are stored. Nothing was restored.`),
  unknown: "Nothing was restored: choose the file again.",
});

/** Sends the file, has the device take it, and deletes it here. */
export async function restore(which: VolumeId, file: File): Promise<void> {
  if (busy(restoreFile.now.get()) || runs(jobOf(jobs.get(), which))) return;
  set(which, undefined);
  target.set(which);
  await restoreFile.send(file);
  const sent = restoreFile.now.get();
  if (sent.kind !== "done") return;
  restoreFile.forget();
  set(which, { kind: "restoring", file: file.name });
  try {
    await patiently("POST", `${pathOf(which)}/restore`, { digest: sent.answer.digest });
    set(which, { kind: "restored", file: file.name });
    await refresh(which.device);
  } catch (error) {
    set(which, { kind: "failed", title: "Not restored", why: reason(error) });
  }
  // One that a workload names as well is refused, and stays.
  await dropArtifact(sent.answer.digest).catch(() => undefined);
}
