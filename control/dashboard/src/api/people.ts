// People, their sessions, role bindings, and one's own account: reads with their keys, and changes.
import { queryOptions } from "@tanstack/react-query";
import { apply } from "./actions";
import { ask, client } from "./client";
import { queries } from "./query-client";
import type { components } from "./schema";
import { resume } from "./session";

type Schemas = components["schemas"];
export type User = Schemas["User"];
export type OpenSession = Schemas["OpenSession"];
export type Binding = Schemas["DataPolicy"];

/** People and sessions that one list reads; more are found by name on the command line. */
const MOST = 1_000;
/** Nobody tells of logins: while the list is on the page it is read again, in milliseconds. */
const SESSIONS_AGAIN = 30_000;

const refresh = (...keys: string[][]) => Promise.all(keys.map((queryKey) => queries.invalidateQueries({ queryKey })));
const user = (name: string) => ({ params: { path: { name } } });

export const users = () => queryOptions({ queryKey: ["users"], queryFn: ({ signal }) => ask(client.GET("/api/v1/users", { signal, params: { query: { limit: MOST } } })) });

export const sessions = () =>
  queryOptions({ queryKey: ["sessions"], staleTime: 0, refetchInterval: SESSIONS_AGAIN, queryFn: ({ signal }) => ask(client.GET("/api/v1/sessions", { signal, params: { query: { limit: MOST } } })) });

export const bindings = () =>
  queryOptions({ queryKey: ["policies", "rolebindings"], queryFn: ({ signal }) => ask(client.GET("/api/v1/policies/{kind}", { signal, params: { path: { kind: "rolebindings" }, query: { limit: MOST } } })) });

/** The API's description of itself, which says of each action who may do it. */
export const openapi = () => queryOptions({ queryKey: ["openapi"], staleTime: Infinity, queryFn: ({ signal }): Promise<unknown> => ask(client.GET("/api/v1/openapi.json", { signal })) });

export const createUser = async (body: Schemas["NewUser"]) => {
  const made = await ask(client.POST("/api/v1/users", { body }));
  await refresh(["users"]);
  return made;
};
export const changeUser = async (name: string, body: Schemas["ChangeUser"]) => {
  const changed = await ask(client.PATCH("/api/v1/users/{name}", { ...user(name), body }));
  await refresh(["users"], ["sessions"]);
  return changed;
};
export const deleteUser = async (name: string) => {
  await ask(client.DELETE("/api/v1/users/{name}", user(name)));
  await refresh(["users"], ["sessions"]);
};
/** Has a password made; the answer is the only one that has it. */
export const setPassword = async (name: string) => {
  const made = await ask(client.POST("/api/v1/users/{name}/password", { ...user(name), body: {} }));
  await refresh(["users"], ["sessions"]);
  return made;
};
export const removeSecondFactor = async (name: string) => {
  await ask(client.DELETE("/api/v1/users/{name}/second-factor", user(name)));
  await refresh(["users"], ["sessions"]);
};
export const endSession = async (id: string) => {
  await ask(client.DELETE("/api/v1/sessions/{id}", { params: { path: { id } } }));
  await refresh(["sessions"]);
};

const bindingsChanged = () => refresh(["policies"], ["users"], ["whoami"]);

export const applyBinding = async (document: unknown) => {
  const made = await apply([document], false);
  await bindingsChanged();
  return made;
};
export const deleteBinding = async (name: string, resourceVersion: number) => {
  await ask(client.DELETE("/api/v1/policies/{kind}/{name}", { params: { path: { kind: "rolebindings", name }, query: { resourceVersion } as never } }));
  await bindingsChanged();
};

/** The session says what its user has: read anew after each of these. */
export const changePassword = async (password: string, newPassword: string) => {
  await ask(client.POST("/api/v1/me/password", { body: { password, newPassword } }));
  await Promise.all([resume(), refresh(["sessions"], ["users"])]);
};
export const beginSecondFactor = (password: string) => ask(client.POST("/api/v1/me/second-factor", { body: { password } }));
export const confirmSecondFactor = async (code: string) => {
  await ask(client.POST("/api/v1/me/second-factor/confirm", { body: { code } }));
  await Promise.all([resume(), refresh(["users"])]);
};
export const endSecondFactor = async (password: string) => {
  await ask(client.POST("/api/v1/me/second-factor/end", { body: { password } }));
  await Promise.all([resume(), refresh(["users"])]);
};
