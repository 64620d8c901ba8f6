// An identity provider on this machine: npm's oidc-provider, which is certified, with a login form
// that takes any name. Who is in which group is told at its start; its keys can be changed.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

/** A private key for signatures, as a JWK. */
function key() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

export class IdentityProvider {
  secret = randomUUID();
  port = 0;

  /** `groups`: the groups of each person; `callback`: where browsers are sent back to. */
  constructor({ groups, callback }) {
    this.groups = groups;
    this.callback = callback;
  }

  get issuer() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it, with new keys; at the former port, if it had one. */
  async start() {
    const server = createServer();
    await new Promise((done, fail) => server.once("error", fail).listen(this.port, "127.0.0.1", done));
    this.server = server;
    this.port = server.address().port;
    const provider = new Provider(this.issuer, {
      clients: [{
        client_id: "holdfast",
        client_secret: this.secret,
        redirect_uris: [this.callback],
        grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        response_types: ["code"],
      }],
      jwks: { keys: [key()] },
      cookies: { keys: [randomUUID()] },
      claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
      conformIdTokenClaims: false,
      features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
      findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: `id-${id}`, preferred_username: id, groups: this.groups[id] ?? [] }) }),
    });
    server.on("request", provider.callback());
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  /** The document by which people log in here. */
  document(name, rules) {
    return {
      apiVersion: "holdfast/v1",
      kind: "IdentityProvider",
      metadata: { name },
      spec: { issuer: this.issuer, clientId: "holdfast", clientSecret: this.secret, scopes: ["profile", "groups"], nameClaim: "preferred_username", rules },
    };
  }
}

/** Logs a person in at the provider, whose login form a page shows, and consents. */
export async function logInAt(page, name) {
  await page.locator("input[name=login]").fill(name);
  await page.locator("input[name=password]").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}
