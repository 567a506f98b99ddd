import { findProvider } from "@pydantic/genai-prices";

const MAX_REMEMBERED = 256;
const remembered = new Map<string, string | undefined>();

/** The provider whose API stands at this address, by the name its prices are listed under; `undefined` for any other. */
export function providerAt({ origin }: URL): string | undefined {
  if (remembered.has(origin)) return remembered.get(origin);
  const provider = findProvider({ providerApiUrl: `${origin}/` })?.id;
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
  remembered.set(origin, provider);
  return provider;
}
