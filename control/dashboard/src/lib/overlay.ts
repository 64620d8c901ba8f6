// Further lines in a chart, as an address has them: device, stream and field, each encoded, so that
// whatever stands in a name does no harm.

export interface LineRef {
  device: string;
  stream: string;
  /** Empty: the record itself. */
  field: string;
}

/** Lines beside the first: more cannot be told apart. */
export const MOST = 5;

export const written = ({ device, stream, field }: LineRef) => [device, stream, field].map(encodeURIComponent).join("/");

export const same = (one: LineRef, other: LineRef) => written(one) === written(other);

export function overlayOf(text: string | undefined): LineRef[] {
  const found: LineRef[] = [];
  for (const part of (text ?? "").split(",")) {
    const names = part.split("/");
    if (names.length !== 3) continue;
    try {
      const [device = "", stream = "", field = ""] = names.map(decodeURIComponent);
      if (device !== "" && stream !== "" && found.length < MOST) found.push({ device, stream, field });
    } catch {
      // No address of these pages: that line is left out.
    }
  }
  return found;
}

export const overlayText = (lines: readonly LineRef[]) => (lines.length === 0 ? undefined : lines.map(written).join(","));

/** What a line is called beside others: only what differs from the first one's, and the field. */
export function lineName(line: LineRef, first: LineRef): string {
  const parts = [line.device === first.device ? "" : line.device, line.stream === first.stream ? "" : line.stream, line.field].filter(Boolean);
  return parts.join(" ") || "value";
}
