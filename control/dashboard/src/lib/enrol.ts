// The one line to paste on a device.

/** Quotes for a POSIX shell, only where it needs to be. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The token goes by the environment: the process list shows arguments. */
export function enrolLine(token: string, url: string, name = ""): string {
  return `HOLDFAST_TOKEN=${quoted(token)} holdfast-agent enroll --url ${quoted(url)}${name ? ` --name ${quoted(name)}` : ""}`;
}
