import { freePort } from "./free-port.js";
import { type RedisServer, startRedis } from "./server.js";

const SLOTS = 16_384;
const NODES = 3;

export interface RedisCluster extends AsyncDisposable {
  readonly nodes: readonly RedisServer[];
  /** For `createCluster`. */
  readonly rootNodes: readonly { readonly url: string }[];
  stop(): Promise<void>;
}

/** Starts a Redis Cluster of three masters that hold all slots and serve. What they acknowledge survives a kill. */
export async function startCluster(): Promise<RedisCluster> {
  const ports = await Promise.all(Array.from({ length: NODES }, freePort));
  const nodes = await Promise.all(
    ports.map((bus) =>
      startRedis({
        appendOnly: "always",
        settings: { "cluster-enabled": "yes", "cluster-port": String(bus), "cluster-node-timeout": "2000" },
      }),
    ),
  );
  const stop = async () => void (await Promise.all(nodes.map((node) => node.stop())));
  try {
    for (const [i, node] of nodes.entries()) {
      const first = Math.floor((i * SLOTS) / NODES);
      const last = Math.floor(((i + 1) * SLOTS) / NODES) - 1;
      await node.command("CLUSTER", "ADDSLOTSRANGE", String(first), String(last));
      await node.command("CLUSTER", "SET-CONFIG-EPOCH", String(i + 1));
    }
    for (const [i, { port }] of nodes.entries()) {
      if (i > 0) await nodes[0]!.command("CLUSTER", "MEET", "127.0.0.1", String(port), String(ports[i]));
    }
    await Promise.all(nodes.map(serves));
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, rootNodes: nodes.map(({ url }) => ({ url })), stop, [Symbol.asyncDispose]: stop };
}

/** Resolves when a node knows the others and thinks that every slot is served. */
async function serves(node: RedisServer): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const info = String(await node.command("CLUSTER", "INFO"));
    if (info.includes("cluster_state:ok") && info.includes(`cluster_size:${NODES}`)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`The cluster does not serve: ${String(await node.command("CLUSTER", "INFO"))}`);
}
