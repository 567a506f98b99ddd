import { readLabels } from "../ambient/ambient.js";
import type { GovernedRequest } from "../domain/request.js";
import { ConfigError, reading } from "../errors/config-error.js";

export const MAX_ID = 256;
const MAX_MODEL = 256;

/** The request as data of its own, checked in what does not depend on the model. Throws `ConfigError` naming the field and its value. */
export function readRequest(given: unknown): GovernedRequest {
  return reading("request", given, () => {
    if (typeof given !== "object" || given === null) {
      throw new ConfigError({
        field: "request",
        value: given,
        problem: "must be an object with a model, or with an operation and its costUsd",
      });
    }
    const { labels } = given as { labels?: unknown };
    const request = labels === undefined ? { ...given } : Object.assign({}, given, { labels: readLabels(labels) });
    checkFields(request);
    return request as GovernedRequest;
  });
}

function checkFields(given: Record<string, unknown>): void {
  if (given["operation"] === undefined) {
    text("model", given["model"], MAX_MODEL);
    shape("messages", given["messages"], Array.isArray, "must be an array of messages");
    shape("tools", given["tools"], Array.isArray, "must be an array of tools");
    shape("params", given["params"], isObject, "must be an object");
  } else {
    text("operation", given["operation"], MAX_MODEL);
    const cost = given["costUsd"];
    if (!(typeof cost === "number" && cost >= 0 && cost <= 9_000)) {
      throw new ConfigError({ field: "costUsd", value: cost, problem: "must be a number of USD from 0 to 9,000" });
    }
  }
  const { id } = given;
  if (id !== undefined) text("id", id, MAX_ID);
  // Ids that the engine makes for itself begin with one.
  shape("id", id, (text: string) => !text.startsWith(" "), "must not begin with a space");
  if (given["endpoint"] !== undefined) text("endpoint", given["endpoint"], MAX_ID);
  if (given["provider"] !== undefined) text("provider", given["provider"], MAX_ID);
  shape(
    "waitMs",
    given["waitMs"],
    (ms) => typeof ms === "number" && ms >= 0 && ms <= 86_400_000,
    "must be a number of ms from 0 to 86,400,000",
  );
  shape("clamp", given["clamp"], (on) => typeof on === "boolean", "must be true or false");
  shape("amendable", given["amendable"], (on) => typeof on === "boolean", "must be true or false");
  shape("signal", given["signal"], isSignal, "must be an AbortSignal");
}

function isSignal(value: unknown): boolean {
  if (!isObject(value) || typeof value["aborted"] !== "boolean") return false;
  return ["throwIfAborted", "addEventListener", "removeEventListener"].every(
    (name) => typeof value[name] === "function",
  );
}

function text(field: string, value: unknown, most: number): void {
  if (typeof value === "string" && value !== "" && value.length <= most) return;
  throw new ConfigError({ field, value, problem: `must be a string of 1 to ${most} characters` });
}

function shape(field: string, value: unknown, sound: (value: never) => boolean, problem: string): void {
  if (value !== undefined && !reading(field, value, () => sound(value as never)))
    throw new ConfigError({ field, value, problem });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
