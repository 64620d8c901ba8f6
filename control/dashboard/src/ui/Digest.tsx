// A digest: its first digits, or all of it, and a button that copies the whole.
import { short } from "../lib/images";
import { CopyButton } from "./Copy";

/** `what`: of which thing it is, for screen readers. */
export function Digest({ of, what, whole = false }: { of: string; what: string; whole?: boolean }) {
  return (
    <span className="hf-row hf-tight">
      <span className="hf-mono hf-digest" title={of}>{whole ? of : short(of)}</span>
      <CopyButton text={of}>Copy<span className="hf-hidden"> the digest of {what}</span></CopyButton>
    </span>
  );
}
