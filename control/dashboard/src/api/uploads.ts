// What can be uploaded: an artifact, and a backup to be put in the place of everything.
import { queries } from "./query-client";
import type { components } from "./schema";
import { session } from "./state";
import { store } from "./store";
import { uploader } from "./upload";

type StoredArtifact = components["schemas"]["StoredArtifact"];
type Restored = components["schemas"]["Restored"];

export const artifact = uploader<StoredArtifact>({
  method: "PUT",
  path: "/api/v1/artifacts",
  type: "application/octet-stream",
  doubt: ({ size }, file) => (size === file.size ? undefined : `It was changed on its way: ${file.size} bytes were sent, ${size} are stored. Push it again.`),
  unknown: "Push it again: what is stored already is not stored twice.",
});

/** What the last restore did, for the login that follows it: no session outlives a restore. */
export const restored = store<(Restored & { at: string; file: string }) | undefined>(undefined);

export const backup = uploader<Restored>(
  {
    method: "POST",
    path: "/api/v1/restore",
    type: "application/x-tar",
    unknown: "Whether it was restored is not known here: if it was, Activity has an entry “restore” of now, and your session has ended.",
  },
  (answer) => {
    const now = backup.now.get();
    restored.set({ ...answer, at: new Date().toISOString(), file: now.kind === "done" ? now.name : "" });
    // Nothing that was read is true any more.
    queries.clear();
    session.set({ kind: "none" });
  },
);
