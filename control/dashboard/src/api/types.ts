// Short names for what the API's description defines.
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Device = Schemas["Device"];
export type Fleet = Schemas["Fleet"];
export type Workload = Schemas["Workload"];
export type Image = Schemas["Image"];
export type ImageSummary = Schemas["ImageSummary"];
export type Volume = Schemas["Volume"];
export type Revision = Schemas["Revision"];
export type Token = Schemas["Token"];
export type Applied = Schemas["Applied"];
export type AppliedDocument = Schemas["AppliedDocument"];
export type Problem = Schemas["Problem"];
export type Event = Schemas["Event"];
export type Connection = Schemas["Connection"];
export type AuditRecord = Schemas["AuditRecord"];
export type Activity = Schemas["Activity"];
export type TimelineEvent = Schemas["TimelineEvent"];
