// The revision of a workload that a device should run, and the one that it has when that is another.

export function Revision({ desired, reported }: { desired: number | null | undefined; reported: number | null | undefined }) {
  if ((desired ?? undefined) === (reported ?? undefined)) return <>{desired ?? "–"}</>;
  if (desired == null) return <>none, has {reported}</>;
  return <>{desired}, {reported == null ? "none reported" : `has ${reported}`}</>;
}
