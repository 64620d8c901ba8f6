// What a verification of the audit log found, in a sentence.
import { count } from "./words";

export interface Verified {
  intact: boolean;
  entries: number;
  whole?: { tenants: number; entries: number } | null;
  faults?: readonly { message: string }[];
  witnesses?: { of: number; agree: number; disagree: number; none: number; away: number } | null;
}

/** The witnesses: "3 of 4 agree, 1 away". */
export function witnesses(said: NonNullable<Verified["witnesses"]>): string {
  const rest = [[said.disagree, "disagree"], [said.none, "without a checkpoint yet"], [said.away, "away"]] as const;
  return [`${said.agree} of ${said.of} agree`, ...rest.filter(([many]) => many > 0).map(([many, word]) => `${many} ${word}`)].join(", ");
}

/** The whole: "Chain verified, 41 entries; witnesses: 3 of 4 agree, 1 away". */
export function verified(found: Verified): string {
  const chain = found.intact ? `Chain verified, ${count(found.entries, "entry", "entries")}` : "The audit log is not intact";
  const all = found.whole && found.whole.tenants > 1 ? ` (of all ${found.whole.tenants} tenants ${count(found.whole.entries, "entry", "entries")})` : "";
  return found.witnesses ? `${chain}${all}; witnesses: ${witnesses(found.witnesses)}` : `${chain}${all}`;
}
