import { chatCompletions } from "./protocols/chat-completions.js";
import { embeddings } from "./protocols/embeddings.js";
import { messages } from "./protocols/messages.js";
import type { Protocol } from "./protocols/protocol.js";
import { responses } from "./protocols/responses.js";

/** A model call, by its address. */
export interface Route {
  readonly protocol: Protocol;
  readonly url: URL;
  /** The model stands in the path (Azure): there it decides, whatever the body says. */
  readonly deployment: string | undefined;
}

/** By the end of the path. Not `…/threads/{id}/messages`, which stores a message and calls no model. */
const protocols: readonly (readonly [RegExp, Protocol])[] = [
  [/\/chat\/completions$/i, chatCompletions],
  [/\/responses$/i, responses],
  [/\/embeddings$/i, embeddings],
  [/\/v1\/messages$/i, messages],
];

/** Not `/engines/v1/…`: there (Docker Model Runner) the version follows, and the model stands in the body. */
const DEPLOYMENT =
  /(\/(?:deployments\/+|engines\/+(?!v\d+\/)))([^/]+)(?=\/+(?:chat\/+completions|responses|embeddings)\/*$)/i;

/** Where an address without an origin stands; whoever sends it knows its own. */
const NOWHERE = "http://relative.invalid";

/** The model call that a request is, if it is one that is known. */
export function routeOf(address: string, method: string): Route | undefined {
  const url = method.toUpperCase() === "POST" ? parsed(address) : undefined;
  if (url === undefined) return undefined;
  const path = plain(url.pathname);
  const protocol = protocols.find(([shape]) => shape.test(path))?.[1];
  if (protocol === undefined) return undefined;
  const deployment = DEPLOYMENT.exec(deployedPath(url))?.[2];
  return { protocol, url, deployment: deployment === undefined ? undefined : decoded(deployment) };
}

/** The address with another deployment. */
export function withDeployment({ href }: URL, deployment: string): string {
  const url = new URL(href);
  url.pathname = deployedPath(url).replace(DEPLOYMENT, (_, before: string) => before + encodeURIComponent(deployment));
  return url.origin === NOWHERE ? url.href.slice(NOWHERE.length) : url.href;
}

/** The path as it is written, where that shows a deployment: its name may hold a slash in hex. */
function deployedPath({ pathname }: URL): string {
  return DEPLOYMENT.test(pathname) ? pathname : plain(pathname);
}

/** A path as a server reads it: a call must not pass unknown by a slash more or a letter written in hex. */
function plain(path: string): string {
  if (!/%|\/\/|\/$/.test(path)) return path;
  const shown = path.replace(/%[2-7][\da-f]/gi, (ascii) => decodeURIComponent(ascii));
  return shown.replace(/\/+/g, "/").replace(/\/$/, "");
}

/** What is no address fails where it is sent. */
function parsed(address: string): URL | undefined {
  try {
    return new URL(address, NOWHERE);
  } catch {
    return undefined;
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
