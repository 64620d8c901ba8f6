// Links between pages: real addresses, followed without a reload.
import { Link } from "@tanstack/react-router";
import type { ComponentProps } from "react";

export interface Target {
  to: string;
  search?: Record<string, string | undefined>;
}

type Props = Target & Omit<ComponentProps<"a">, "href" | "ref">;

export function PageLink({ to, search, ...rest }: Props) {
  return <Link to={to as never} search={(search ?? {}) as never} {...rest} />;
}

export const deviceAt = (name: string) => `/devices/${encodeURIComponent(name)}`;
/** The page of a document about data. */
export const documentAt = (kind: string, name: string) => `/policies/${kind === "Stream" ? "streams" : "linkbudgets"}/${encodeURIComponent(name)}`;
export const workloadAt = (name: string) => `/workloads/${encodeURIComponent(name)}`;
