export { governFetch } from "./govern-fetch.js";
export type { Fetch, GovernFetchOptions } from "./options.js";
export type { CallLabels, FetchRequest } from "./labels.js";
