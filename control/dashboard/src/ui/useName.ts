// The name in a page's address.
import { useParams } from "@tanstack/react-router";

export function useName(): string {
  return (useParams({ strict: false }) as { name?: string }).name ?? "";
}
