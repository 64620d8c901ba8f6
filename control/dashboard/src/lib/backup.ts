// What a file says of itself before it is sent: whether it is a backup at all, by whom and when it
// was made. A wrong file is said before gigabytes of it have gone.

/** A tar's header; the first file of a backup is its manifest. */
const HEADER = 512;
const MANIFEST = "manifest.json";
/** Bytes that are enough to read the manifest. */
export const HEAD = HEADER + 4096;

export interface Manifest {
  program: string;
  createdAt: string;
  /** What opens an encrypted backup. Of the rest nothing can be read then. */
  by: "passphrase" | "identity";
}

/** First line of an encrypted backup, which is in age's format. */
const AGE = "age-encryption.org/v1\n";

/** Undefined: it is no backup. Without words about itself: it is one, of a form that is not known here. */
export function manifestOf(head: Uint8Array): Partial<Manifest> | undefined {
  const text = (from: number, to: number) => new TextDecoder().decode(head.subarray(from, to));
  if (text(0, AGE.length) === AGE) return { by: text(AGE.length, AGE.length + 10) === "-> scrypt " ? "passphrase" : "identity" };
  if (head.length < HEADER || text(0, MANIFEST.length + 1) !== `${MANIFEST}\0` || text(257, 262) !== "ustar") return undefined;
  const size = Number.parseInt(text(124, 136), 8);
  try {
    const { program, createdAt } = JSON.parse(text(HEADER, HEADER + size)) as Record<string, unknown>;
    return { ...(typeof program === "string" ? { program } : {}), ...(typeof createdAt === "string" ? { createdAt } : {}) };
  } catch {
    return {};
  }
}
