// The nonce of this answer's Content-Security-Policy: style elements that libraries make need it.
export const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";
