// A question to the fleet: its answer comes line by line, and closing the connection cancels it.
import { jsonLines } from "./lines";
import type { components } from "./schema";

export type Question = components["schemas"]["NewQuery"];
export type Progress = components["schemas"]["QueryProgress"];
export type Answer = components["schemas"]["QueryResult"];

/** Asks, tells how far it is, and gives the answer. */
export const askFleet = (question: Question, signal: AbortSignal, told: (progress: Progress) => void): Promise<Answer> => jsonLines("/api/v1/query", question, signal, told);
