// Lines for a terminal: how an image is pulled from here, and how one gets here.
import { isLoopback, quoted } from "./enrol";

/** The host of this control plane as an engine on another machine names it. */
export function registryHost(here: string, addresses: readonly string[] = []): string {
  const usable = isLoopback(here) ? (addresses.find((address) => !isLoopback(address)) ?? here) : here;
  return new URL(usable).host;
}

/** By its tag, or exactly this one by its digest. */
export function pullLine(host: string, name: string, tag: string | undefined, digest: string): string {
  return `docker pull ${quoted(`${host}/${name}${tag ? `:${tag}` : `@${digest}`}`)}`;
}

/** The password that it asks for is an access token; the user's name says nothing. */
export const loginLine = (host: string): string => `docker login --username token ${quoted(host)}`;

/** Where the engine looks for the certificate of an authority that the system does not know. */
export const authorityFile = (host: string): string => `/etc/docker/certs.d/${host}/ca.crt`;

export interface PushLine {
  from: string;
  line: string;
}

/** How an image gets here, by where it is now. */
export const PUSH_LINES: readonly PushLine[] = [
  { from: "In Docker or Podman on this machine", line: "holdfast image push docker://shop/till:1.4" },
  { from: "In a file of docker save, podman save, or an OCI archive", line: "holdfast image push till.tar shop/till:1.4" },
  { from: "In a folder with an OCI layout", line: "holdfast image push ./layout shop/till:1.4" },
];
