// The one line to paste on a device.

/** Quotes for a POSIX shell, only where it needs to be. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The token goes by the environment: the process list shows arguments. */
export function enrolLine(token: string, url: string, name = ""): string {
  return `HOLDFAST_TOKEN=${quoted(token)} holdfast-agent enroll --url ${quoted(url)}${name ? ` --name ${quoted(name)}` : ""}`;
}

/** A token without its secret: its id says which it was. */
export function masked(token: string): string {
  const [kind = "", id = ""] = token.split(".");
  return `${kind}.${id}.•••`;
}

/** An address that means the machine itself: no other machine reaches this one by it. */
export function isLoopback(url: string): boolean {
  let host;
  try {
    host = new URL(url).hostname;
  } catch {
    return false;
  }
  return host === "localhost" || host.endsWith(".localhost") || /^127\.\d+\.\d+\.\d+$/.test(host) || host === "[::1]" || host.startsWith("[::ffff:7f");
}

const KEY = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** Keys of labels, with commas or spaces between them; `*`: all. */
export function labelKeys(text: string): { keys: string[]; fault?: string } {
  const keys = text.split(/[,\s]+/).filter(Boolean);
  const wrong = keys.find((key) => key !== "*" && !KEY.test(key));
  return wrong === undefined ? { keys } : { keys, fault: `“${wrong}” cannot be a label's key` };
}
